"""Which edits of a project's modules change what a function is made of: all that change its result, few that do not."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rekindle.domain.changes.differences import code_reasons
from rekindle.files.sources import CodeDigester

Files = dict[str, str]

HELPERS = "def clean(x): return x\ndef other(x): return 0\n"

MATTERS: dict[str, tuple[Files, str, str, str]] = {
    "the function": ({"lib.py": "def score(): return 1"}, "lib.py", "return 1", "return 2"),
    "a default": ({"lib.py": "A = 1\ndef score(x=A): return x"}, "lib.py", "A = 1", "A = 2"),
    "a computed default": (
        {"lib.py": "A = [1]\ndef size(x=len(A)): return x\nA.append(1)\ndef score(): return size()"},
        "lib.py", "A = [1]\n", "A = [1]\nA.append(2)\n"),
    "where a name is rebound": (
        {"lib.py": "X = 1\ndef score(x=X): return x\nX = 2\n"}, "lib.py",
        "def score(x=X): return x\nX = 2\n", "X = 2\ndef score(x=X): return x\n"),
    "a decorator": (
        {"lib.py": "def twice(f): return lambda: f() * 2\n@twice\ndef score(): return 1"}, "lib.py", "* 2", "* 3"),
    "a decorator that registers": (
        {"lib.py": "R = []\ndef reg(f): R.append(f); return f\n@reg\ndef a(): return 1\ndef score(): return R[0]()"},
        "lib.py", "return 1", "return 2"),
    "a registry of another module": (
        {"reg.py": "R = {}\ndef reg(f): R[f.__name__] = f; return f\n",
         "plug.py": "from reg import reg\n@reg\ndef a(): return 1\n",
         "lib.py": "import plug\nfrom reg import R\ndef score(): return R['a']()"}, "plug.py", "return 1", "return 2"),
    "a class attribute": ({"lib.py": "class C:\n  limit = 1\ndef score(): return C.limit"}, "lib.py", "= 1", "= 2"),
    "a class attribute set later": (
        {"lib.py": "class C:\n  limit = 1\nC.limit = 5\ndef score(): return C.limit"}, "lib.py", "= 5", "= 6"),
    "a method by an instance": (
        {"lib.py": "class C:\n  def go(self): return 1\ndef score(): return C().go()"},
        "lib.py", "return 1", "return 2"),
    "a base class": (
        {"lib.py": "class B:\n  def go(self): return 1\nclass C(B): pass\ndef score(): return C().go()"},
        "lib.py", "return 1", "return 2"),
    "a base class elsewhere": (
        {"base.py": "class B:\n  def go(self): return 1\n",
         "lib.py": "from base import B\nclass C(B): pass\ndef score(): return C().go()"},
        "base.py", "return 1", "return 2"),
    "a metaclass": (
        {"lib.py": "class M(type):\n  x = 1\nclass C(metaclass=M): pass\ndef score(): return C.x"},
        "lib.py", "x = 1", "x = 2"),
    "a subclass that registers itself": (
        {"lib.py": "R = []\nclass B:\n  def __init_subclass__(cls): R.append(cls)\nclass C(B): x = 1\n"
                   "def score(): return R[0].x"}, "lib.py", "x = 1", "x = 2"),
    "a subclass found by its base": (
        {"lib.py": "class B: pass\nclass C(B): x = 1\ndef score(): return B.__subclasses__()[0].x"},
        "lib.py", "x = 1", "x = 2"),
    "a closure": (
        {"lib.py": "def make(n):\n  def inner(): return n + 1\n  return inner\ndef score(): return make(1)()"},
        "lib.py", "n + 1", "n + 2"),
    "a nested function's use": (
        {"lib.py": "def f(): return 1\ndef score():\n  def g(): return f()\n  return g()"},
        "lib.py", "return 1", "return 2"),
    "a constant through another function": (
        {"lib.py": "K = 1\ndef get(): return K\ndef score(): return get()"}, "lib.py", "K = 1", "K = 2"),
    "a constant made of another": (
        {"lib.py": "A = 1\nB = A + 1\ndef score(): return B"}, "lib.py", "A = 1", "A = 2"),
    "a module-level __getattr__": (
        {"helpers.py": "def __getattr__(name): return lambda: hidden()\ndef hidden(): return 1\n",
         "lib.py": "import helpers\ndef score(): return helpers.anything()"}, "helpers.py", "return 1", "return 2"),
    "a conditional import": (
        {"fast.py": "def f(): return 1\n", "slow.py": "def f(): return 2\n",
         "lib.py": "import sys\nif sys.version_info > (3,):\n  from fast import f\nelse:\n  from slow import f\n"
                   "def score(): return f()"}, "fast.py", "return 1", "return 3"),
    "a try import": (
        {"slow.py": "def f(): return 1\n",
         "lib.py": "try:\n  import nowhere as m\nexcept ImportError:\n  import slow as m\ndef score(): return m.f()"},
        "slow.py", "return 1", "return 2"),
    "a conditional constant": (
        {"lib.py": "if True:\n  K = 1\nelse:\n  K = 0\ndef score(): return K"}, "lib.py", "K = 1", "K = 2"),
    "TYPE_CHECKING that is set": (
        {"lib.py": "TYPE_CHECKING = True\nif TYPE_CHECKING:\n  K = 1\ndef score(): return K"},
        "lib.py", "K = 1", "K = 2"),
    "a star import": (
        {"helpers.py": HELPERS, "lib.py": "from helpers import *\ndef score(): return clean(1)"},
        "helpers.py", "return x", "return x + 1"),
    "a star import's __all__": (
        {"helpers.py": "__all__ = ['a']\ndef a(): return 1\ndef b(): return 2\n",
         "lib.py": "def b(): return 0\nfrom helpers import *\ndef score(): return b()"},
        "helpers.py", "['a']", "['a', 'b']"),
    "a re-export": (
        {"pkg/__init__.py": "from .core import f as g\n", "pkg/core.py": "def f(): return 1\n",
         "lib.py": "import pkg\ndef score(): return pkg.g()"}, "pkg/core.py", "return 1", "return 2"),
    "what a re-export means": (
        {"pkg/__init__.py": "from .core import f as g\n", "pkg/core.py": "def f(): return 1\ndef h(): return 2\n",
         "lib.py": "from pkg import g\ndef score(): return g()"}, "pkg/__init__.py", "import f", "import h"),
    "a submodule": (
        {"pkg/__init__.py": "", "pkg/sub.py": "def f(): return 1\n",
         "lib.py": "import pkg.sub\ndef score(): return pkg.sub.f()"}, "pkg/sub.py", "return 1", "return 2"),
    "a submodule from its package": (
        {"pkg/__init__.py": "", "pkg/sub.py": "def f(): return 1\n",
         "lib.py": "from pkg import sub as s\ndef score(): return s.f()"}, "pkg/sub.py", "return 1", "return 2"),
    "a package's __init__": (
        {"pkg/__init__.py": "K = 1\n", "pkg/sub.py": "from pkg import K\ndef f(): return K\n",
         "lib.py": "from pkg.sub import f\ndef score(): return f()"}, "pkg/__init__.py", "K = 1", "K = 2"),
    "a function as a value": (
        {"lib.py": "def f(x): return 1\ndef score(): return list(map(f, [1]))"}, "lib.py", "return 1", "return 2"),
    "a property": (
        {"lib.py": "class C:\n  @property\n  def p(self): return 1\ndef score(): return C().p"},
        "lib.py", "return 1", "return 2"),
    "a comprehension": (
        {"lib.py": "def f(x): return 1\ndef score(): return [f(f) for y in [1]]"}, "lib.py", "return 1", "return 2"),
    "a name that a comprehension hides": (
        {"lib.py": "def f(x=0): return 1\ndef score():\n  return [f for f in [0]] + [f()]"},
        "lib.py", "return 1", "return 2"),
    "a walrus": ({"lib.py": "if (n := 1): pass\ndef score(): return n"}, "lib.py", "n := 1", "n := 2"),
    "a global statement": (
        {"lib.py": "X = 1\ndef put():\n  global X\n  X = 2\nput()\ndef score(): return X"}, "lib.py", "X = 2", "X = 3"),
    "a module attribute set elsewhere": (
        {"helpers.py": "K = 1\ndef f(): return K\n", "patch.py": "import helpers\nhelpers.K = 5\n",
         "lib.py": "import helpers, patch\ndef score(): return helpers.f()"}, "patch.py", "= 5", "= 6"),
    "a function put into another module": (
        {"helpers.py": HELPERS, "lib.py": "import helpers\ndef mine(x): return 1\nhelpers.clean = mine\n"
                                          "def score(): return helpers.clean(0)"}, "lib.py", "return 1", "return 2"),
    "a lambda": ({"lib.py": "f = lambda: 1\ndef score(): return f()"}, "lib.py", "lambda: 1", "lambda: 2"),
    "a dataclass field": (
        {"lib.py": "from dataclasses import dataclass\n@dataclass\nclass C:\n  a: int = 1\ndef score(): return C().a"},
        "lib.py", "= 1", "= 2"),
    "a dataclass field's annotation": (
        {"lib.py": "from dataclasses import dataclass, fields\nfrom typing import ClassVar\n@dataclass\nclass C:\n"
                   "  a: int = 1\ndef score(): return len(fields(C))"}, "lib.py", "a: int", "a: ClassVar[int]"),
    "a dict of functions": (
        {"lib.py": "def f(): return 1\nT = {'a': f}\ndef score(): return T['a']()"}, "lib.py", "return 1", "return 2"),
    "a dict filled later": (
        {"lib.py": "def f(): return 1\nT = {}\nT['a'] = f\ndef score(): return T['a']()"},
        "lib.py", "return 1", "return 2"),
    "a data module": (
        {"data.py": "LIMITS = {'a': 1}\n", "lib.py": "import data\ndef score(): return data.LIMITS['a']"},
        "data.py", "'a': 1", "'a': 2"),
    "getattr with a computed name": (
        {"helpers.py": HELPERS, "lib.py": "import helpers\ndef score(): return getattr(helpers, 'cle' + 'an')(1)"},
        "helpers.py", "return x", "return x + 1"),
    "getattr with a name": (
        {"helpers.py": HELPERS, "lib.py": "import helpers\ndef score(): return getattr(helpers, 'clean')(1)"},
        "helpers.py", "return x", "return x + 1"),
    "a module given to a function": (
        {"helpers.py": HELPERS, "use.py": "def call(m, n): return getattr(m, n)(1)\n",
         "lib.py": "import helpers\nfrom use import call\ndef score(): return call(helpers, 'clean')"},
        "helpers.py", "return x", "return x + 1"),
    "a package as a value": (
        {"pkg/__init__.py": "", "pkg/sub.py": "def f(): return 1\n",
         "lib.py": "import pkg.sub\nP = [pkg]\ndef score(): return P[0].sub.f()"},
        "pkg/sub.py", "return 1", "return 2"),
    "globals": ({"lib.py": "def f(): return 1\ndef score(): return globals()['f']()"},
        "lib.py", "return 1", "return 2"),
    "a module found in globals": (
        {"helpers.py": HELPERS, "lib.py": "import helpers\ndef score(): return globals()['helpers'].clean(1)"},
        "helpers.py", "return x", "return x + 1"),
    "eval": ({"lib.py": "def f(): return 1\ndef score(): return eval('f()')"}, "lib.py", "return 1", "return 2"),
    "eval by another name": (
        {"lib.py": "import builtins\ndef f(): return 1\ndef score(): return builtins.eval('f()', globals())"},
        "lib.py", "return 1", "return 2"),
    "sys.modules": (
        {"helpers.py": HELPERS,
         "lib.py": "import sys, helpers\ndef score(): return sys.modules['helpers'].clean(1)"},
        "helpers.py", "return x", "return x + 1"),
    "an import by name": (
        {"helpers.py": HELPERS,
         "lib.py": "import importlib\ndef score(): return importlib.import_module('helpers').clean(1)"},
        "helpers.py", "return x", "return x + 1"),
    "an import with a computed name": (
        {"helpers.py": HELPERS,
         "lib.py": "import helpers, importlib\ndef score(): return importlib.import_module('help' + 'ers').clean(1)"},
        "helpers.py", "return x", "return x + 1"),
    "an import in a function": (
        {"helpers.py": HELPERS, "lib.py": "def score():\n  from helpers import clean\n  return clean(1)"},
        "helpers.py", "return x", "return x + 1"),
    "a module imported in a function": (
        {"helpers.py": HELPERS, "lib.py": "def score():\n  import helpers as h\n  return h.clean(1)"},
        "helpers.py", "return x", "return x + 1"),
    "a global import in a function": (
        {"helpers.py": HELPERS,
         "lib.py": "def load():\n  global h\n  import helpers as h\ndef score():\n  load()\n  return h.clean(1)"},
        "helpers.py", "return x", "return x + 1"),
    "an import for its effect": (
        {"state.py": "V = []\n", "plug.py": "import state\nstate.V.append(1)\n",
         "lib.py": "import plug, state\ndef score(): return state.V"}, "lib.py", "import plug, state", "import state"),
    "the order of imports with effects": (
        {"state.py": "V = []\n", "a.py": "import state\nstate.V.append(1)\n",
         "b.py": "import state\nstate.V.append(2)\n",
         "lib.py": "import a\nimport b\nimport state\ndef score(): return state.V"},
        "lib.py", "import a\nimport b\n", "import b\nimport a\n"),
    "the order of imports that import effects": (
        {"state.py": "V = []\n", "a.py": "import state\nstate.V.append(1)\n",
         "b.py": "import state\nstate.V.append(2)\n",
         "c.py": "import a\n", "lib.py": "import c\nimport b\nimport state\ndef score(): return state.V"},
        "lib.py", "import c\nimport b\n", "import b\nimport c\n"),
    "a builtin that is shadowed": (
        {"lib.py": "def score(): return len([1])\n"}, "lib.py", "def score", "def len(x): return 7\ndef score"),
    "a docstring that is read": (
        {"lib.py": "def f():\n  'one'\ndef score(): return f.__doc__"}, "lib.py", "'one'", "'two'"),
    "a module's docstring that is read": (
        {"lib.py": "'one'\ndef score(): return __doc__"}, "lib.py", "'one'", "'two'"),
    "source that is read": (
        {"lib.py": "import inspect\ndef f(): pass  # one\ndef score(): return inspect.getsource(f)"},
        "lib.py", "# one", "# two"),
    "its own file that is read": (
        {"lib.py": "def score(): return open(__file__).read()\n# one"}, "lib.py", "# one", "# two"),
    "a name in a string": (
        {"lib.py": "import operator, types\ndef f(): return 1\nclass C: pass\n"
                   "def score(): return operator.attrgetter('f')(types.SimpleNamespace(f=f))()"},
        "lib.py", "return 1", "return 2"),
    "a class's own lookup of a global": (
        {"lib.py": "x = 1\nclass C:\n  x = x\ndef score(): return C.x"}, "lib.py", "x = 1\n", "x = 2\n"),
    "an exception class": (
        {"lib.py": "class E(Exception):\n  code = 1\ndef score():\n  try: raise E\n  except E as e: return e.code"},
        "lib.py", "= 1", "= 2"),
    "a call on import": (
        {"lib.py": "T = []\ndef fill(): T.append(1)\nfill()\ndef score(): return T"},
        "lib.py", "append(1)", "append(2)"),
    "a loop on import": (
        {"lib.py": "T = {}\nfor n in 'ab': T[n] = n * 2\ndef score(): return T"}, "lib.py", "n * 2", "n * 3"),
    "an augmented constant": ({"lib.py": "T = 1\nT += 2\ndef score(): return T"}, "lib.py", "+= 2", "+= 3"),
    "a function that is replaced": (
        {"lib.py": "def f(): return 1\ndef g(): return 2\nf = g\ndef score(): return f()"},
        "lib.py", "return 2", "return 3"),
    "a partial function": (
        {"lib.py": "from functools import partial\ndef f(x): return x\ng = partial(f, 1)\ndef score(): return g()"},
        "lib.py", "return x", "return x + 1"),
    "a generic dispatch": (
        {"lib.py": "from functools import singledispatch\n@singledispatch\ndef f(x): return 0\n@f.register\n"
                   "def _(x: int): return 1\ndef score(): return f(1)"}, "lib.py", "return 1", "return 2"),
    "a format": ({"lib.py": "def f(): return 1\ndef score(): return f'{f()}'"}, "lib.py", "return 1", "return 2"),
    "match": (
        {"lib.py": "class C: x = 1\ndef score():\n  match 1:\n    case int(): return C.x"}, "lib.py", "x = 1", "x = 2"),
    "an async function": (
        {"lib.py": "import asyncio\nasync def f(): return 1\ndef score(): return asyncio.run(f())"},
        "lib.py", "return 1", "return 2"),
    "an unpacked constant": ({"lib.py": "A, B = 1, 2\ndef score(): return B"}, "lib.py", "1, 2", "1, 3"),
    "a deleted name": ({"lib.py": "def len(x): return 5\ndef score(): return len('a')"},
        "lib.py", "5\n", "5\ndel len\n"),
    "a descriptor": (
        {"lib.py": "R = []\nclass D:\n  def __set_name__(self, o, n): R.append(n)\nd = D()\nclass C:\n  a = d\n"
                   "def score(): return R"}, "lib.py", "  a = d", "  b = d"),
    "a future import": (
        {"lib.py": "def score(x: int = 0): return str(score.__annotations__)"},
        "lib.py", "def score", "from __future__ import annotations\ndef score"),
    "a pickled class": (
        {"lib.py": "import pickle\nclass C:\n  def __reduce__(self): return (C, ())\n  def go(self): return 1\n"
                   "B = pickle.dumps(C())\ndef score(): return pickle.loads(B).go()"},
        "lib.py", "return 1", "return 2"),
    "a function of a class that is called": ({"lib.py": "class C:\n  @staticmethod\n  def go(): return 1\n"
                                              "def score(): return C.go()"}, "lib.py", "return 1", "return 2"),
    "another module's alias": (
        {"a.py": "import b as inner\n", "b.py": "def f(): return 1\n",
         "lib.py": "import a\ndef score(): return a.inner.f()"},
        "b.py", "return 1", "return 2"),
    "a circle": (
        {"a.py": "import lib\ndef f(): return lib.K\n", "lib.py": "K = 1\nimport a\ndef score(): return a.f()"},
        "lib.py", "K = 1", "K = 2"),
    "a module that appears": (
        {"lib.py": "try:\n  import extra\nexcept ImportError:\n  extra = None\n"
                   "def score(): return extra.V if extra else 0"}, "extra.py", "", "V = 1\n"),
    "vars": ({"lib.py": "class N:\n  a = 1\ndef score(): return vars(N)['a']"}, "lib.py", "a = 1", "a = 2"),
    "a string annotation that is evaluated": (
        {"lib.py": "import typing\nclass A: x = 1\ndef g(p: 'A'): pass\n"
                   "def score(): return typing.get_type_hints(g)['p'].x"}, "lib.py", "x = 1", "x = 2"),
    "an augmented class attribute": (
        {"lib.py": "class C:\n  a=[]\n  a += [1]\ndef score(): return C.a"},
        "lib.py", "[1]", "[2]"),
    "a loop's variable": (
        {"lib.py": "for i in range(3): pass\ndef score(): return i"},
        "lib.py", "range(3)", "range(4)"),
    "a namespace package": (
        {"ns/a.py": "def f(): return 1\n",
         "lib.py": "import ns.a\ndef score(): return ns.a.f()"},
        "ns/a.py", "return 1", "return 2"),
    "a namespace package as a value": (
        {"ns/a.py": "def f(): return 1\n",
         "lib.py": "import ns.a\ndef g(m): return m.a.f()\ndef score(): return g(ns)"},
        "ns/a.py", "return 1", "return 2"),
    "a base class by its module": (
        {"m.py": "class B:\n  def go(self): return 1\n",
         "lib.py": "import m\nclass C(m.B): pass\ndef score(): return C().go()"},
        "m.py", "return 1", "return 2"),
    "an enumeration": (
        {"lib.py": "from enum import Enum\nclass E(Enum):\n  A=1\ndef score(): return E.A.value"},
        "lib.py", "A=1", "A=2"),
    "a decorator by its module": (
        {"deco.py": "def d(f): return lambda: f()+1\n",
         "lib.py": "import deco\n@deco.d\ndef score(): return 1"},
        "deco.py", "+1", "+2"),
    "a decorator of a class": (
        {"lib.py": "def d(c):\n  c.x=1\n  return c\n@d\nclass C: pass\ndef score(): return C.x"},
        "lib.py", "x=1", "x=2"),
    "a conditional function": (
        {"lib.py": "import os\nif os.name=='posix':\n  def f(): return 1\nelse:\n  def f(): return 2\n"
                 "def score(): return f()"},
        "lib.py", "return 1", "return 3"),
    "a name set through sys.modules": (
        {"lib.py": "import sys\nsetattr(sys.modules[__name__],'f',lambda: 1)\ndef score(): return f()"},
        "lib.py", "lambda: 1", "lambda: 2"),
    "a name set through globals": (
        {"lib.py": "globals()['f']=lambda: 1\ndef score(): return f()"},
        "lib.py", "lambda: 1", "lambda: 2"),
    "vars of a module": (
        {"h.py": "def f(): return 1\n",
         "lib.py": "import h\ndef score(): return vars(h)['f']()"},
        "h.py", "return 1", "return 2"),
    "a module's __dict__": (
        {"h.py": "def f(): return 1\n",
         "lib.py": "import h\ndef score(): return h.__dict__['f']()"},
        "h.py", "return 1", "return 2"),
    "a submodule that another module imports": (
        {"pkg/__init__.py": "",
         "pkg/a.py": "def f(): return 1\n",
         "o.py": "import pkg.a\n",
         "lib.py": "import pkg, o\ndef score(): return pkg.a.f()"},
        "pkg/a.py", "return 1", "return 2"),
    "a function named like its module": (
        {"pkg/__init__.py": "from .a import a\n",
         "pkg/a.py": "def a(): return 1\n",
         "lib.py": "from pkg import a\ndef score(): return a()"},
        "pkg/a.py", "return 1", "return 2"),
    "a relative import": (
        {"pkg/__init__.py": "",
         "pkg/x/__init__.py": "",
         "pkg/x/m.py": "from ..y import f\ndef g(): return f()\n",
         "pkg/y.py": "def f(): return 1\n",
         "lib.py": "from pkg.x.m import g\ndef score(): return g()"},
        "pkg/y.py", "return 1", "return 2"),
    "an overloaded operator on import": (
        {"lib.py": "class V:\n  def __add__(s,o): return 1\na=V()\nb=a+a\ndef score(): return b"},
        "lib.py", "return 1", "return 2"),
    "a constant that a call copies": (
        {"lib.py": "T=[1]\nS=sorted(T, key=lambda x: -x)\ndef score(): return S"},
        "lib.py", "[1]", "[1,2]"),
    "a chain of aliases": (
        {"a.py": "K=1\n",
         "b.py": "from a import K as L\n",
         "lib.py": "from b import L\ndef score(): return L"},
        "a.py", "K=1", "K=2"),
    "a module attribute set by a call": (
        {"h.py": "K=1\ndef get(): return K\n",
         "p.py": "import h\ndef patch():\n  h.K=5\n",
         "lib.py": "import h,p\ndef score():\n  p.patch()\n  return h.get()"},
        "p.py", "=5", "=6"),
    "an import in a class": (
        {"h.py": "def f(self): return 1\n",
         "lib.py": "class C:\n  from h import f\ndef score(): return C().f()"},
        "h.py", "return 1", "return 2"),
    "a star import of a star import": (
        {"pkg/__init__.py": "from .a import *\n",
         "pkg/a.py": "from .b import *\n",
         "pkg/b.py": "def f(): return 1\n",
         "lib.py": "import pkg\ndef score(): return pkg.f()"},
        "pkg/b.py", "return 1", "return 2"),
    "a submodule in __all__": (
        {"pkg/__init__.py": "__all__=['a']\n",
         "pkg/a.py": "def f(): return 1\n",
         "lib.py": "from pkg import *\ndef score(): return a.f()"},
        "pkg/a.py", "return 1", "return 2"),
    "import_module by another name": (
        {"h.py": "def f(): return 1\n",
         "lib.py": "import h\nfrom importlib import import_module as im\ndef score(): return im('h').f()"},
        "h.py", "return 1", "return 2"),
    "__import__ with a list": (
        {"pkg/__init__.py": "",
         "pkg/h.py": "def f(): return 1\n",
         "lib.py": "def score(): return __import__('pkg', fromlist=['h']).h.f()"},
        "pkg/h.py", "return 1", "return 2"),
    "import_module with a keyword": (
        {"h.py": "def f(): return 1\n",
         "lib.py": "import h, importlib\ndef score(): return importlib.import_module(name='h').f()"},
        "h.py", "return 1", "return 2"),
    "a private name in a class": (
        {"lib.py": "_C__x=1\nclass C:\n  def go(self): return __x\ndef score(): return C().go()"},
        "lib.py", "=1", "=2"),
    "a global statement in a nested function": (
        {"lib.py": "X=1\ndef a():\n  def b():\n    global X\n    X=5\n  b()\na()\ndef score(): return X"},
        "lib.py", "X=5", "X=6"),
    "a method called by name on a module": (
        {"h.py": "def f(): return 1\n",
         "lib.py": "import h, operator\ndef score(): return operator.methodcaller('f')(h)"},
        "h.py", "return 1", "return 2"),
    "a subclass that is named in a registry": (
        {"m.py": "class M:\n  R=[]\n  def __init_subclass__(c): M.R.append(c.__name__)\n",
         "lib.py": "from m import M\nclass K(M): pass\ndef score(): return M.R"},
        "lib.py", "class K", "class L"),
    "an expression that is nested deeply": (
        {"lib.py": "def score(): return " + "+".join(["1"] * 900)},
        "lib.py", "return 1", "return 2"),
    "another encoding": (
        {"lib.py": "# -*- coding: latin-1 -*-\nK='a'\ndef score(): return K"},
        "lib.py", "'a'", "'b'"),
    "a lazy submodule": (
        {"lz.py": "import importlib\ndef attach(n, s):\n"
                "  def g(a): return importlib.import_module(n+'.'+a)\n  return g\n",
         "pkg/__init__.py": "from lz import attach\n__getattr__ = attach(__name__, ['sub'])\n",
         "pkg/sub.py": "def f(): return 1\n",
         "lib.py": "import pkg\ndef score(): return pkg.sub.f()"},
        "pkg/sub.py", "return 1", "return 2"),
    "a quoted part of an annotation": (
        {"lib.py": "import typing\nclass A: x=1\ndef g(p: 'list[A]'): pass\n"
                 "def score(): return typing.get_args(typing.get_type_hints(g)['p'])[0].x"},
        "lib.py", "x=1", "x=2"),
    "a script that is run": (
        {"m.py": "V=0\nif __name__=='__main__':\n  V=1\n",
         "lib.py": "import runpy\nfrom pathlib import Path\nimport m\n"
                 "P=str(Path(__file__).parent/'m.py')\n"
                 "def score(): return runpy.run_path(P,run_name='__main__')['V']"},
        "m.py", "V=1", "V=2"),
}  # fmt: skip

COSMETIC: dict[str, tuple[Files, str, str, str]] = {
    "comments and blank lines": ({"lib.py": "def score(): return 1"}, "lib.py", "def", "# hello\n\n\ndef"),
    "docstrings": ({"lib.py": "'a'\ndef score():\n  'b'\n  return 1"}, "lib.py", "'b'", "'c'"),
    "a docstring that is added": ({"lib.py": "class C: pass\ndef score(): return 1 if C else 0"},
        "lib.py", "pass", "'x'"),
    "formatting": ({"lib.py": "def score(a=1, b=2): return a"}, "lib.py", "(a=1, b=2)", "(\n  a = 1,\n  b = 2,\n)"),
    "quotes": ({"lib.py": "def score(): return 'a'"}, "lib.py", "'a'", '"a"'),
    "an unrelated function": ({"lib.py": "def other(): return 1\ndef score(): return 2"},
        "lib.py", "return 1", "return 3"),
    "an unrelated function that is added": ({"lib.py": "def score(): return 2"}, "lib.py", "def", "def f(): pass\ndef"),
    "an unrelated class": ({"lib.py": "class C:\n  a = 1\ndef score(): return 2"}, "lib.py", "a = 1", "a = 3"),
    "an unrelated constant": ({"lib.py": "A = {'a': [1]}\ndef score(): return 2"}, "lib.py", "[1]", "[2]"),
    "an unrelated regular expression": (
        {"lib.py": "import re\nP = re.compile('a', re.I)\ndef score(): return 2"}, "lib.py", "'a'", "'b'"),
    "an unrelated function of an imported module": (
        {"helpers.py": HELPERS, "lib.py": "from helpers import clean\ndef score(): return clean(1)"},
        "helpers.py", "return 0", "return 1"),
    "an unrelated import": (
        {"helpers.py": HELPERS, "lib.py": "def score(): return 1"}, "lib.py", "def", "import json, helpers\ndef"),
    "the script's part": (
        {"lib.py": "def score(): return 1\nif __name__ == '__main__':\n  print(1)"}, "lib.py", "print(1)", "print(2)"),
    "imports for types": (
        {"lib.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  import json\ndef score(): return 1"},
        "lib.py", "import json", "import csv"),
    "the order of functions": (
        {"lib.py": "def a(): return 1\ndef score(): return a()"}, "lib.py",
        "def a(): return 1\ndef score(): return a()", "def score(): return a()\ndef a(): return 1"),
    "a local name like a function": (
        {"lib.py": "def data(): return 1\ndef score(data=2): return data"}, "lib.py", "return 1", "return 3"),
    "an unrelated dataclass": (
        {"lib.py": "from dataclasses import dataclass\n@dataclass\nclass C:\n  a: int\ndef score(): return 2"},
        "lib.py", "a: int", "a: str"),
}  # fmt: skip


def plant(root: Path, files: Files) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text))


def edited(root: Path, case: tuple[Files, str, str, str]) -> tuple[dict[str, str], dict[str, str]]:
    files, name, before, after = case
    plant(root, files)
    one = CodeDigester([]).code(["lib:score"], str(root))
    path = root / name
    text = path.read_text() if path.exists() else ""
    assert before in text
    path.write_text(text.replace(before, after, 1) if before else after)
    return one, CodeDigester([]).code(["lib:score"], str(root))


RESULTS = """
import json, os, sys
for root in sys.argv[1:]:
    sys.stdout.flush()
    if not os.fork():
        sys.path.insert(0, root)
        import lib
        print(json.dumps([root, lib.score()]))
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


def results(roots: list[Path]) -> dict[str, object]:
    """What `lib.score()` returns in each of these projects, each called in a process of its own."""
    argv = [sys.executable, "-I", "-B", "-c", RESULTS, *map(str, roots)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", MATTERS)
def test_an_edit_that_matters_is_seen(tmp_path: Path, name: str) -> None:
    then, now = edited(tmp_path, MATTERS[name])
    assert code_reasons(then, now)
    assert not code_reasons(now, now)


def test_each_edit_that_must_be_seen_changes_the_result(tmp_path: Path) -> None:
    roots = []
    for number, case in enumerate(MATTERS.values()):
        before, after = tmp_path / f"{number}a", tmp_path / f"{number}b"
        plant(before, case[0])
        edited(after, case)
        roots += [before, after]
    found = results(roots)
    assert len(found) == len(roots)
    alike = [n for n, at in zip(MATTERS, range(0, len(roots), 2), strict=True)
             if found[str(roots[at])] == found[str(roots[at + 1])]]  # fmt: skip
    assert not alike


@pytest.mark.parametrize("name", COSMETIC)
def test_an_edit_that_changes_no_code_that_is_reached_is_not_seen(tmp_path: Path, name: str) -> None:
    then, now = edited(tmp_path, COSMETIC[name])
    assert not code_reasons(then, now)
    assert then != now
