"""The configuration of Sphinx for `make docs`. The build needs no network and loads nothing from other hosts."""

from __future__ import annotations

import sys
from pathlib import Path

from rekindle import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "rekindle"
project_copyright = "The rekindle developers"
release = __version__

extensions = [
    "myst_parser",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "reference_pages",
]
nitpicky = True
smartquotes = False  # help texts hold flags, whose two hyphens would become a dash
# Types of the standard library, and values that only appear in signatures, have no page.
nitpick_ignore_regex = [("py:class", r"(collections|datetime|os|pandas|pathlib|pyarrow|typing|rekindle\.\w+\.).*|\w+")]
default_role = "code"  # docstrings write `code` as Markdown does

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# "Copy" takes the commands of a console block (prompts `$ `, and `> ` for further lines), without prompts and output.
copybutton_prompt_text = r"\$ |> "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"rekindle {release}"
html_static_path = ["_static"]
html_css_files = ["rekindle.css"]
html_js_files = ["rekindle.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
