"""Renders a page as one HTML file that opens offline: the template includes figures, style and script."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jinja2
from plotly.offline import get_plotlyjs

from sweeper.report.page_figure import PageFigure
from sweeper.version import __version__

TEMPLATES: Final = Path(__file__).parent / "templates"


def render(template: str, *, figures: Sequence[PageFigure], **context: Any) -> str:
    """Return the page as HTML. Everything in `context` is escaped; figures, style and script are inserted unescaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    plots = [f'"{figure.name}": {figure.plot.to_json()}' for figure in figures if figure.plot is not None]
    figures_json = "{" + ",".join(plots) + "}"
    # Escaped, so that no text in a figure can end the script element.
    for character in "<>&":
        figures_json = figures_json.replace(character, f"\\u{ord(character):04x}")
    return environment.get_template(template).render(
        **context,
        figures=figures,
        figures_json=figures_json,
        has_plots=bool(plots),
        style=(TEMPLATES / "page.css").read_text(),
        script=(TEMPLATES / "page.js").read_text(),
        plotly=get_plotlyjs() if plots else "",
        version=__version__,
        written=datetime.now().astimezone().strftime("%Y-%m-%d at %H:%M"),
    )
