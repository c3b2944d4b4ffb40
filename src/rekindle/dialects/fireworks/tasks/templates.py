"""TemplateWriterTask: a file made from a Jinja2 template."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rekindle.dialects.fireworks.tasks.configuration import configuration
from rekindle.dialects.fireworks.tasks.given import BadTask, Given, Spec, needs_package


def write_template(given: Given, spec: Spec) -> None:
    """`template_file` in `template_dir`, else in the configuration's TEMPLATE_DIR, else among those that come with
    FireWorks · `context`: its variables · `output_file` · `append` · `use_global_spec`. What is written is text as it
    is: nothing is escaped as for a web page."""
    try:
        from jinja2 import Environment, FileSystemLoader
    except ModuleNotFoundError as error:
        raise needs_package("TemplateWriterTask", "Jinja2") from error
    params = given.or_global(spec)
    folder = _folder(params)
    template = folder / params.need("template_file")
    if not template.is_file():
        raise BadTask(f"TemplateWriterTask finds no template {template}")
    surroundings = Environment(loader=FileSystemLoader(folder))
    text = surroundings.from_string(template.read_text(encoding="utf-8")).render(params.need("context"))
    with Path(params.need("output_file")).open("a" if params.get("append") else "w", encoding="utf-8") as file:
        file.write(text)


def _folder(params: Given) -> Path:
    named = params.get("template_dir") or configuration().templates
    if named:
        return Path(named).expanduser()
    package = importlib.util.find_spec("fireworks")
    if package is None or package.origin is None:
        return Path.cwd()
    return Path(package.origin).parent / "user_objects" / "firetasks" / "templates"
