"""The table of trials on a study's page in a real browser: sorting, filtering, scrolling, opening a row."""

from pathlib import Path

import pytest

from .browsed_pages import column, open_page
from .browser import Visit


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_rejected_proposals_are_shown_on_demand(studies: Path, visit: Visit) -> None:
    """The table leaves rejected proposals out until their box is checked."""
    open_page(visit, studies / "twenty-four/report.html")
    assert "rejected" not in column(visit, 4)
    numbers = column(visit, 1)
    visit.page.get_by_role("checkbox", name="rejected proposals").check()
    assert len(column(visit, 1)) > len(numbers)
    visit.page.get_by_role("checkbox", name="rejected proposals").uncheck()
    assert column(visit, 1) == numbers


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_the_table_sorts_and_filters(searched: Path, visit: Visit) -> None:
    """A column's name sorts in both directions, empty cells last; words, bounds and states filter; the keyboard works."""
    open_page(visit, searched / "outputs/studies/real/report.html")
    best_first = [
        float(text.rstrip("% "))
        for text, state in zip(column(visit, 2), column(visit, 4), strict=True)
        if state == "done"
    ]
    assert best_first == sorted(best_first, reverse=True)
    numbers = column(visit, 1)
    assert len(numbers) >= 20
    accuracy = visit.page.get_by_role("button", name="accuracy", exact=True)
    accuracy.focus()
    visit.page.keyboard.press("Enter")
    shown = column(visit, 2)
    falling = [float(text.rstrip("% ")) for text in shown if text]
    assert falling == sorted(falling, reverse=True)
    assert shown == [text for text in shown if text] + [text for text in shown if not text]
    assert visit.page.locator("th[aria-sort=descending]").inner_text().strip().startswith("accuracy")
    visit.page.keyboard.press("Enter")
    rising = [float(text.rstrip("% ")) for text in column(visit, 2) if text]
    assert rising == sorted(rising)

    visit.page.get_by_label("State").select_option("pruned")
    assert set(column(visit, 4)) == {"pruned"}
    visit.page.get_by_label("State").select_option("")
    median = sorted(rising)[len(rising) // 2]
    visit.page.get_by_label("Filter").fill(f"accuracy>{median}% done")
    kept = column(visit, 2)
    assert kept
    assert all(float(text.rstrip("% ")) > median for text in kept)
    assert set(column(visit, 4)) == {"done"}
    assert visit.page.locator("#shown").inner_text() == f"{len(kept)} of {len(numbers)} trials"
    visit.page.get_by_label("Filter").fill("no such word")
    assert column(visit, 1) == []

    def shown_by(text: str) -> list[str]:
        visit.page.get_by_label("Filter").fill(text)
        return column(visit, 1)

    for one, same in (
        (f"accuracy>{median}%", f"accuracy > {median}"),
        (f"accuracy>{median}%", f"ACCURACY>{median / 100}"),
        ("parameters<7000", "parameters < 7,000"),
        ("trial>=3 trial<=3", "trial=3"),
        ("whole>1", "whole>1s"),
        ("training>0s", "training > 0 s accuracy>"),
        ("block1.0>=8", "block1.0 >= 8"),
    ):
        assert shown_by(one) == shown_by(same), same
    assert shown_by(f"trial={numbers[0]}") == [numbers[0]]
    assert len(shown_by("state=done")) == len(shown_by("state=DONE")) > 0
    assert set(column(visit, 4)) == {"done"}
    assert shown_by(f"accuracy>={median}% accuracy<={median}%") == shown_by(f"accuracy={median}%") != []
    visit.page.get_by_label("Filter").fill("acuracy>3 done")
    assert (
        "not understood: acuracy>3 (a column is one of trial, accuracy, parameters, state,"
        in visit.page.locator("#shown").inner_text()
    )


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_large_table_shows_its_best_fifty(studies: Path, visit: Visit) -> None:
    """Fifty rows are shown until all are asked for; rejected ones that match a filter are counted."""
    open_page(visit, studies / "six-hundred/report.html")
    assert len(column(visit, 1)) == 50
    assert visit.page.locator("#shown").inner_text() == "600 of 600 trials, the first 50 shown"
    visit.page.get_by_label("Filter").fill("parameters>=9900")
    assert "430 rejected also match" in visit.page.locator("#shown").inner_text()
    visit.page.get_by_label("Filter").fill("over budget rejected")
    assert set(column(visit, 4)) == {"rejected"}
    visit.page.get_by_label("Filter").fill("")
    visit.page.get_by_role("button", name="Show all 600").click()
    assert len(column(visit, 1)) == 600


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_header_and_the_first_columns_stay_in_sight(studies: Path, visit: Visit) -> None:
    """However far the table is scrolled, the column names, the trial and its accuracy are at its edges."""
    open_page(visit, studies / "six-hundred/report.html", width=390)
    frame = visit.page.locator(".tall")
    frame.evaluate("frame => frame.scrollTo(300, 600)")
    edges = frame.evaluate(
        """frame => {
            const box = frame.getBoundingClientRect(), head = frame.querySelector("thead th").getBoundingClientRect();
            const row = frame.querySelectorAll("tbody tr")[30], [first, second] = [...row.cells].map(cell => cell.getBoundingClientRect());
            return [head.top - box.top, first.left - box.left, second.left - first.right, frame.scrollLeft, frame.scrollTop];
        }"""
    )
    assert edges[3] > 100
    assert edges[4] > 100
    assert [abs(edge) < 2 for edge in edges[:3]] == [True, True, True]


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_row_opens_and_a_point_leads_to_its_row(searched: Path, visit: Visit) -> None:
    """A row opens to values, curve and commands, also by keyboard; a click on a point opens the row of its trial."""
    open_page(visit, searched / "outputs/studies/real/report.html")
    first = visit.page.locator("#trials tbody tr").first
    number = first.locator(".open").inner_text()
    first.locator(".open").focus()
    visit.page.keyboard.press("Enter")
    opened = visit.page.locator("#trials .detail")
    assert opened.locator("polyline").count() == 1
    assert "optimizer.lr" in opened.inner_text()
    assert f"python -m sweeper reproduce outputs/studies/real/{number}" in opened.inner_text()
    visit.page.keyboard.press("Enter")
    assert opened.count() == 0

    visit.page.get_by_label("Filter").fill("no such trial")
    star = visit.page.locator("#history .points path").last
    star.scroll_into_view_if_needed()
    box = star.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    visit.page.mouse.move(x, y)
    visit.page.wait_for_timeout(300)
    visit.page.mouse.click(x, y)
    visit.page.locator("tr.found").wait_for()
    assert visit.page.locator("tr.found .open").inner_text() == number
    assert opened.count() == 1
    assert visit.page.evaluate("document.querySelector('tr.found').getBoundingClientRect().top") > 0
