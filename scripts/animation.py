#!/usr/bin/env python3
"""Write docs/_static/rerun.svg: README's example, typed in a terminal of 80 columns, as a picture that moves.

The commands run when this script runs; only the times of the picture are made up. A viewer who prefers no motion sees
the last frame.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "_static" / "rerun.svg"

# A comment is there at once; a command is typed. After each, the viewer reads for some seconds.
SCRIPT = [
    ("# a workflow of four jobs, and a script with a bug", 0.5),
    ("rekindle run weather.yaml", 3.2),
    ("# int() does not parse 21.5: fix the script, and plan a rerun", 0.6),
    ("sed -i 's/int(word)/float(word)/' mean.py", 0.3),
    ("rekindle rerun -s failed", 3.2),  # the plan is read before the answer, too
    ("# on second thought", 0.6),
    ("rekindle undo", 1.6),
    ("# rerun and run them: the other two jobs are kept", 0.5),
    ("rekindle rerun -s failed --yes --work", 4.5),
]
SECONDS = 20
TYPING = 0.035  # seconds a character
QUESTION = "[y/N]: "

COLUMNS, ROWS = 80, 24
WIDTH, HEIGHT = 8.4, 19  # of a character
MARGIN = 16
ALT = (
    "A terminal. rekindle run weather.yaml: 2 jobs complete, 1 fails with a ValueError. The script is fixed. rekindle "
    "rerun -s failed shows a plan of two jobs and applies it; rekindle undo takes it back; rekindle rerun --work "
    "applies it again and runs it: 4 jobs are completed."
)

COLOURS = {"2": "dim", "31": "red", "32": "green", "33": "yellow", "34": "blue", "35": "purple", "36": "cyan"}
ESCAPE = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])")

STYLE = """
  svg { --back: #ffffff; --edge: #d0d7de; --text: #1f2328; --dim: #656d76; --red: #cf222e; --green: #1a7f37;
    --yellow: #7d4e00; --blue: #0969da; --purple: #8250df; --cyan: #1b7c83 }
  @media (prefers-color-scheme: dark) {
    svg { --back: #0d1117; --edge: #30363d; --text: #e6edf3; --dim: #8d96a0; --red: #ff7b72; --green: #3fb950;
      --yellow: #d29922; --blue: #58a6ff; --purple: #bc8cff; --cyan: #39c5cf } }
  text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
    fill: var(--text); white-space: pre }
  .typed { font-weight: 600 }
"""


@dataclass
class Block:
    """Lines that appear at one time."""

    time: float
    row: int  # of the first line
    lines: list[list[tuple[str, str]]]  # of each line: its pieces, as (style, text)
    typing: float = 0  # seconds from the first to the last character


@dataclass
class Screen:
    """The lines that a program has left on a terminal."""

    lines: list[list[tuple[str, str]]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    colour: str = ""

    def write(self, text: str) -> None:
        at = 0
        while at < len(text):
            if found := ESCAPE.match(text, at):
                self._obey(found[1], found[2])
                at = found.end()
                continue
            if text[at] == "\r":
                self.column = 0
            elif text[at] == "\n":
                self.row += 1
                self.lines += [[] for _ in range(self.row + 1 - len(self.lines))]
            else:
                self._put(text[at])
            at += 1

    def _put(self, character: str) -> None:
        line = self.lines[self.row]
        line += [("", " ")] * (self.column + 1 - len(line))
        line[self.column] = (self.colour, character)
        self.column += 1

    def _obey(self, numbers: str, letter: str) -> None:
        if letter == "m":
            self.colour = COLOURS.get(numbers, "")
        elif letter == "A":
            self.row -= int(numbers or 1)
        elif (letter, numbers) == ("K", "2"):
            self.lines[self.row] = []
        elif (letter, numbers) == ("K", ""):
            del self.lines[self.row][self.column :]
        elif letter not in "hl":  # the cursor is shown or hidden
            raise ValueError(f"unknown: ESC [ {numbers}{letter}")

    def pieces(self) -> list[list[tuple[str, str]]]:
        """Return the lines with neighbouring characters of one colour joined."""
        joined: list[list[tuple[str, str]]] = []
        for line in self.lines:
            joined.append([])
            for colour, character in line:
                if joined[-1] and joined[-1][-1][0] == colour:
                    character = joined[-1].pop()[1] + character
                joined[-1].append((colour, character))
        while joined and not joined[-1]:
            joined.pop()
        return joined


def write_files(folder: Path) -> None:
    """Write the files of README's example: the blocks whose first comment is a file name."""
    readme = (ROOT / "README.md").read_text()
    for name, text in re.findall(r"^```\w+\n# (\S+\.\w+)\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL):
        (folder / name).write_text(text)


def run(command: str, folder: Path) -> list[str]:
    """Run a command in a terminal, and answer its question with yes. Return what it printed before and after that."""
    own, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    dropped = ("COLUMNS", "LINES", "NO_COLOR")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("REKINDLE_", *dropped))}
    env |= {"TERM": "xterm-256color", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"}
    process = subprocess.Popen(["sh", "-c", command], cwd=folder, env=env, stdin=other, stdout=other, stderr=other)
    os.close(other)
    printed = [b""]
    while True:
        try:
            printed[-1] += os.read(own, 1 << 16)
        except OSError:  # the program has ended
            break
        if printed[-1].endswith(QUESTION.encode()):
            os.write(own, b"y\n")
            printed.append(b"")
    os.close(own)
    process.wait()
    return [part.decode() for part in printed]


def play(folder: Path) -> list[Block]:
    """Run the script in a folder. Return what appears when, in seconds from 0 to SECONDS."""
    blocks, time, row = [], 0.3, 0
    for command, reading in SCRIPT:
        if command.startswith("#"):
            blocks.append(Block(time, row, [[("dim", f"$ {command}")]]))
            time, row = time + reading, row + 1
            continue
        typing = TYPING * len(command)
        blocks.append(Block(time, row, [[("", "$ "), ("typed", command)]], typing))
        time, row = time + typing + 0.4, row + 1
        screen, seen, question = Screen(), 0, 0
        for part in run(command, folder):
            screen.write(part)
            lines = screen.pieces()
            if seen:  # the line of the question is there, but for the answer
                seen -= 1
                lines[seen] = [("", " " * question), ("", "".join(text for _, text in lines[seen])[question:])]
            blocks.append(Block(time, row + seen, lines[seen:]))
            seen, question = len(lines), screen.column
            time += reading
        row += seen
    faster = SECONDS / time
    return [Block(block.time * faster, block.row, block.lines, block.typing * faster) for block in blocks]


def draw(blocks: list[Block]) -> str:
    """Return the picture. Without its animation it is the last frame."""
    frames, drawn, scroll, row = [], [], ["0% { transform: none }"], 0
    for number, block in enumerate(blocks):
        start = percent(block.time)
        if block.typing:
            end, letters = percent(block.time + block.typing), len(block.lines[0][1][1])
            hidden, shown = "{ clip-path: inset(0 100% 0 0) }", "{ clip-path: inset(0) }"
            frames.append(f"@keyframes t{number} {{ 0%, {start}% {hidden} {end}%, 100% {shown} }}")
            frames.append(f"#t{number} {{ animation: t{number} {SECONDS}s steps({letters}) infinite }}")
        frames.append(f"@keyframes b{number} {{ 0% {{ opacity: 0 }} {start}%, 100% {{ opacity: 1 }} }}")
        frames.append(f"#b{number} {{ animation: b{number} {SECONDS}s step-end infinite }}")
        lines = [draw_line(line, block.row + i, number) for i, line in enumerate(block.lines)]
        drawn.append(f'<g id="b{number}">{"".join(lines)}</g>')
        row = block.row + len(block.lines)
        if row > ROWS:
            scroll.append(f"{start}% {{ transform: translateY({(ROWS - row) * HEIGHT}px) }}")
    last = f"translateY({min(0, ROWS - row) * HEIGHT}px)"
    frames.append(f"@keyframes scroll {{ {' '.join(scroll)} 100% {{ transform: {last} }} }}")
    frames.append(f"#scroll {{ animation: scroll {SECONDS}s step-end infinite }}")
    width, height = COLUMNS * WIDTH + 2 * MARGIN, ROWS * HEIGHT + 2 * MARGIN
    size = f'viewBox="0 0 {width:g} {height}" width="{width:g}" height="{height}"'
    motion = "\n    ".join(frames)
    body = "\n".join(drawn)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>Fail, plan, rerun, undo</title>
<desc>{escape(ALT)}</desc>
<style>{STYLE}  #scroll {{ transform: {last} }}
  @media not (prefers-reduced-motion: reduce) {{
    {motion}
  }}
</style>
<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1}" rx="8" fill="var(--back)" stroke="var(--edge)"/>
<svg x="{MARGIN}" y="{MARGIN}" width="{COLUMNS * WIDTH:g}" height="{ROWS * HEIGHT}">
<g id="scroll">
{body}
</g>
</svg>
</svg>
"""


def draw_line(pieces: list[tuple[str, str]], row: int, number: int) -> str:
    """Return the pieces of a line, each at its column: a viewer's font may have other widths."""
    drawn, column = "", 0
    for style, text in pieces:
        if text.strip():
            shown = (
                f' id="t{number}" class="typed"'
                if style == "typed"
                else f' style="fill:var(--{style})"'
                if style
                else ""
            )
            drawn += (
                f'<text x="{column * WIDTH:g}" y="{(row + 1) * HEIGHT - 5}" textLength="{len(text) * WIDTH:g}"'
                f"{shown}>{escape(text)}</text>"
            )
        column += len(text)
    return drawn


def percent(seconds: float) -> str:
    return f"{100 * seconds / SECONDS:.2f}"


def main() -> None:
    with TemporaryDirectory() as folder:
        write_files(Path(folder))
        PICTURE.write_text(draw(play(Path(folder))))


if __name__ == "__main__":
    main()
