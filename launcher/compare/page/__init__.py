"""A comparison as one self-contained HTML page: no network, no script, charts as SVG, light and dark."""

from __future__ import annotations

from importlib.resources import files

from launcher.compare.page.charts import charts
from launcher.compare.page.foot import foot
from launcher.compare.page.markup import Markup, element, join
from launcher.compare.page.tables import cited, legs, parity
from launcher.comparison import Comparison
from launcher.render.figures import clean
from launcher.render.told import under_title

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may do with the page beside showing it: nothing, whatever a name in it says."""


def render(comparison: Comparison) -> str:
    """The whole page, to be written as UTF-8; it is well-formed XML, and everything from outside is escaped."""
    body = element(
        "main",
        element("header", element("h1", clean(comparison.title)), element("p", under_title(comparison), class_="note")),
        element("p", clean(comparison.verdict), class_="verdict") if comparison.verdict else None,
        _warnings(comparison),
        _section("Legs", legs(comparison)) if comparison.legs else element("p", "There are no legs."),
        _charts(comparison),
        _section("Did they compute the same?", parity(comparison.parities)) if comparison.parities else None,
        _section("Figures from elsewhere", elsewhere) if (elsewhere := cited(comparison)) else None,
        element("footer", foot(comparison)),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{clean(comparison.title)}: CPU against GPU"),
        element("style", Markup(files(__package__).joinpath("style.css").read_text("utf-8"))),
    )
    return "<!DOCTYPE html>\n" + element("html", head, element("body", body), lang="en") + "\n"


def _charts(comparison: Comparison) -> Markup | None:
    drawn = charts(comparison)
    return _section("Charts", element("div", drawn, class_="charts")) if drawn else None


def _warnings(comparison: Comparison) -> Markup | None:
    entries = [element("li", clean(each)) for each in comparison.warnings]
    if not entries:
        return None
    return element("aside", element("h2", "Warnings"), element("ul", *entries), class_="warnings")


def _section(heading: str, *parts: Markup | None) -> Markup:
    return element("section", element("h2", heading), join(*parts))
