"""Decides how a text is written in an override, so that Hydra reads it back. It imports no Optuna."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException


def quoted(text: str) -> str:
    r"""Return a text as Hydra reads it back unchanged: in quotes if it needs them.

    >>> print(quoted("a b"), quoted("it's [x]"))
    a b 'it\'s [x]'
    """
    try:
        is_plain = OverridesParser.create().parse_override(f"key={text}").value() == text
    except HydraException:
        is_plain = False
    return text if is_plain else QuotedString(text, Quote.single).with_quotes()
