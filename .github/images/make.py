#!/usr/bin/env python3
"""Makes the pictures of README.md: a real search in a terminal, and the page of a real study.

.venv/bin/python .github/images/make.py search               # trains; two to four minutes
.venv/bin/python .github/images/make.py page STUDY_FOLDER    # needs chromium
"""

import argparse
import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Final, Literal

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

IMAGES: Final = Path(__file__).resolve().parent
MAX_BYTES: Final = 300_000
"""Size limit of a picture."""
COLUMNS: Final = 100
ROWS: Final = 60
WIDTH: Final = 1280
"""Width of the browser's window, pixels."""
HEIGHT: Final = 900
SCALE: Final = 1.5
"""Pixels of a picture for each of the page."""
FIGURE_ID: Final = "pareto"
"""HTML id of the figure of accuracy against parameters."""
SESSION: Final = ("python -m sweeper inspect model=notebook", "python -m sweeper -m search=card model=notebook")
COLORS: Final = 128
"""Size of a PNG's palette."""
ERASE_LINE: Final = "\x1b[2K"
CURSOR_UP: Final = re.compile(r"\x1b\[(\d*)A")
CONTROL: Final = re.compile(r"(\r\n|\n|\r|\x1b\[\d*A|\x1b\[2?K|\x1b\[\?\d+[hl])")


def main() -> None:
    """Make one of the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("search", help="run SESSION in the working directory; write search.svg")
    for name, what in (("page", "the top of the page"), ("pareto", "accuracy against parameters")):
        command = commands.add_parser(name, help=f"{what}; write {name}-light.png and {name}-dark.png")
        command.add_argument("folder", type=Path, help="a study's folder, with its report.html")
    options = parser.parse_args()
    if options.command == "search":
        picture_search()
    else:
        picture_page(options.folder, options.command)


def picture_search() -> None:
    """Run SESSION in a terminal and write the text that it leaves on the screen."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in SESSION:
        console.print(Text(f"$ {line}", style="bold"))
        words = [sys.executable, *line.split()[1:]]
        for shown in screen_lines(run_in_terminal(words)):
            console.print(Text.from_ansi(shown, overflow="fold"))
    # rich's style sheet loads a font from the network; without it the browser takes its own monospaced one.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="sweeper", theme=MONOKAI), flags=re.DOTALL)
    write(IMAGES / "search.svg", svg.encode())


def run_in_terminal(words: list[str]) -> str:
    """Run a command in a pseudo-terminal of COLUMNS by ROWS; return everything it prints."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:  # noqa: S603 - SESSION
        os.close(theirs)
        chunks = []
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the command has ended
                break
            chunks.append(chunk)
    os.close(ours)
    printed = b"".join(chunks).decode()
    if process.returncode != 0:
        sys.exit(f"{printed}\n{' '.join(words)} ended with status {process.returncode}")
    return printed


def screen_lines(printed: str) -> list[str]:
    r"""Return the lines that remain on the screen, with their colours: later output may replace a whole line.

    >>> screen_lines("a\r\nb 1\r\x1b[2Kb 2\r\n")
    ['a', 'b 2']
    """
    lines, row, is_at_start = [""], 0, True
    for part in CONTROL.split(printed):
        up = CURSOR_UP.fullmatch(part)
        if part in {"\n", "\r\n"}:
            row, is_at_start = row + 1, True
            if row == len(lines):
                lines.append("")
        elif part == "\r":
            is_at_start = True
        elif up:
            row = max(0, row - int(up[1] or 1))
        elif part == ERASE_LINE:
            lines[row] = ""
        elif part and not part.startswith("\x1b[?") and not CONTROL.fullmatch(part):
            lines[row] = part if is_at_start else lines[row] + part
            is_at_start = False
    while lines and not lines[-1]:
        lines.pop()
    return lines


def picture_page(folder: Path, what: Literal["page", "pareto"]) -> None:
    """Write the top of a study's page, or its figure of accuracy against parameters, in both colour schemes."""
    executable = shutil.which("chromium")
    if executable is None:
        sys.exit("chromium must be installed, but is not on the PATH")
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for scheme in schemes:
            page = open_page(browser, folder / "report.html", scheme)
            shown = page.screenshot() if what == "page" else page.locator(f"#{FIGURE_ID}").screenshot()
            write_png(IMAGES / f"{what}-{scheme}.png", shown)
        browser.close()


def open_page(browser: Browser, file: Path, scheme: Literal["light", "dark"]) -> Page:
    """Open a page, with all its figures plotted."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE, color_scheme=scheme)
    page.goto(file.resolve().as_uri())
    page.wait_for_timeout(2000)  # plotly has no event for "all figures are plotted"
    return page


def write_png(file: Path, png: bytes) -> None:
    """Write a PNG with a palette, which takes a third of the bytes."""
    smaller = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLORS).save(smaller, "PNG", optimize=True)
    write(file, smaller.getvalue())


def write(file: Path, content: bytes) -> None:
    """Write a picture. Exits if it is too large."""
    if len(content) > MAX_BYTES:
        sys.exit(f"{file} must be at most {MAX_BYTES:,} bytes, but has {len(content):,}")
    file.write_bytes(content)
    print(f"{file.name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
