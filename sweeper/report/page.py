"""One page, one file: a template filled in, its figures, style and script inside it, so that it opens offline."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jinja2
from plotly.offline import get_plotlyjs

from sweeper.report.page_figure import PageFigure
from sweeper.version import __version__

TEMPLATES: Final = Path(__file__).parent / "templates"


def render(template: str, *, drawn: Sequence[PageFigure], **context: Any) -> str:
    """Return the page. What a template is given is escaped; only figures, style and script go in as they are."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    figures = [f'"{one.name}": {one.figure.to_json()}' for one in drawn if one.figure is not None]
    # Within a script element nothing may look like its end.
    figures_json = "{" + ",".join(figures) + "}"
    for character in "<>&":
        figures_json = figures_json.replace(character, f"\\u{ord(character):04x}")
    return environment.get_template(template).render(
        **context,
        figures=drawn,
        figures_json=figures_json,
        style=(TEMPLATES / "page.css").read_text(),
        script=(TEMPLATES / "page.js").read_text(),
        plotly=get_plotlyjs(),
        version=__version__,
        written=datetime.now().astimezone().strftime("%Y-%m-%d at %H:%M"),
    )
