import json
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results import page as page_module
from lumbar_kernel.results.page import write_page
from lumbar_kernel.results.pictures import MARKS, RING_MEANING
from lumbar_kernel.results.tables import Point
from lumbar_kernel.schema import CANAL, FORAMINAL, Target
from tests.results.conftest import EVIL

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

NAMES_FOR = {"wide": (1500, 1000), "narrow": (390, 800)}


class Elements(HTMLParser):
    """Start tags with attributes, the text of each element that holds no other, and tags that were never closed."""

    VOID = ("meta", "img", "input", "br", "link")

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))


def parsed(path):
    elements = Elements()
    elements.feed(path.read_text(encoding="utf-8"))
    elements.close()
    assert elements.open == []
    return elements


def data_of(elements):
    inside = iter(elements.texts)
    return next(json.loads(text) for tag, text in inside if tag == "script" and text.startswith('{"run"'))


@pytest.fixture(scope="module")
def path(run_folder):
    return write_page(run_folder)


def test_every_study_is_a_row_and_an_entry(path):
    elements = parsed(path)
    links = [attrs["href"] for tag, attrs in elements.tags if tag == "a" and attrs["href"].startswith("#study=")]
    entries = data_of(elements)["studies"]
    assert links == [f"#study={1000 + 7 * index}" for index in range(12)]
    assert [entry["id"] for entry in entries] == [link.removeprefix("#study=") for link in links]
    assert [entry["severe"] for entry in entries[:4]] == [25, 0, 0, 0]
    assert [sum(entry["graded"]) for entry in entries[:4]] == [25, 25, 25, 0]


def test_nothing_is_asked_of_a_network_or_another_file(path):
    elements = parsed(path)
    for tag, attrs in elements.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not (tag == "script" and "src" in attrs)
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("#", "data:image/jpeg;base64,")), (tag, attrs)
    text = re.sub(r"[A-Za-z0-9+/=]{200,}", "", path.read_text(encoding="utf-8"))
    assert not re.search(r"https?:|@import|//[a-z]", text.replace("// ", ""))
    policy = next(
        attrs["content"] for _, attrs in elements.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")


def test_text_of_a_run_is_never_markup_and_names_no_file(path):
    text = path.read_text(encoding="utf-8")
    assert "DOE_JOHN" not in text
    assert "/home" not in text
    assert EVIL not in text
    assert EVIL in json.dumps(data_of(parsed(path)))


def test_strange_study_names_stay_names(write_run, tmp_path):
    names = ["a&b <i>c</i>", "50% / é", '"quoted"']
    write_run(tmp_path, count=3, names=names)
    elements = parsed(write_page(tmp_path))
    assert [text for tag, text in elements.texts if tag == "a"][1:] == names
    assert [entry["id"] for entry in data_of(elements)["studies"]] == names
    links = [attrs["href"] for tag, attrs in elements.tags if tag == "a" and attrs["href"].startswith("#study=")]
    assert links == [f"#study={quote(name, safe='')}" for name in names]


def test_a_study_name_that_is_no_text_is_shown_with_escapes(write_run, tmp_path):
    write_run(tmp_path, count=1, names=["M\udcfcller"])
    elements = parsed(write_page(tmp_path))
    shown = "M\\udcfcller"
    assert [entry["id"] for entry in data_of(elements)["studies"]] == [shown]
    assert f"#study={quote(shown, safe='')}" in [attrs.get("href") for tag, attrs in elements.tags if tag == "a"]
    assert [text for tag, text in elements.texts if tag == "a"][1:] == [shown]


def test_the_page_explains_the_marks_and_colours_of_the_pictures(path):
    names = data_of(parsed(path))["names"]
    assert [(tuple(colour[::-1]), words) for colour, words in names["marks"]] == [*MARKS]
    assert names["ring"] == " ".join(RING_MEANING)


def test_one_confidence_counts_as_unsure_everywhere(write_run, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "UNSURE", 0.25)
    write_run(tmp_path, count=1)
    text = write_page(tmp_path).read_text(encoding="utf-8")
    assert "a point with confidence below 0.25<" in text
    assert '"unsure":0.25' in text
    assert "below 0.5" not in text


def test_pictures_beyond_the_limit_are_loaded_from_beside_the_page(run_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    drawn = folder / "pictures" / "1000.jpg"
    shutil.copy(drawn, folder / "pictures" / "1007.jpg")
    monkeypatch.setattr(page_module, "EMBEDDED_BYTES", drawn.stat().st_size + 10)
    elements = parsed(write_page(folder))
    first, second, third = data_of(elements)["studies"][:3]
    assert [item["picture"] for item in (first, second, third)] == ["inside", "beside", "none"]
    assert (folder / second["file"]).is_file()
    assert len([attrs for tag, attrs in elements.tags if tag == "img"]) == 2


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"report\.json"):
        write_page(tmp_path)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed here")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(params=NAMES_FOR)
def opened(request, browser, path):
    """The page in a window; any error or request to a network fails the test."""
    width, height = NAMES_FOR[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark", offline=True)
    tab, faults = context.new_page(), []
    tab.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("dialog", lambda dialog: faults.append(f"dialog {dialog.message}"))
    allowed = ("file:", "data:", "blob:")
    tab.on("request", lambda sent: None if sent.url.startswith(allowed) else faults.append(sent.url))
    tab.goto(path.as_uri())
    yield tab
    assert faults == []
    context.close()


def test_studies_are_sorted_filtered_and_opened_with_the_keyboard(opened):
    first = "#table tbody tr:not([hidden]) >> nth=0"
    opened.click("text=Conf.")
    opened.click("text=Conf.")
    assert "1070" in opened.inner_text(first)
    opened.fill("#words", "cannot be decoded")
    assert opened.inner_text("#shown") == "3 of 12 studies"
    opened.fill("#words", "")
    opened.select_option("#kind", "severe")
    assert opened.inner_text("#shown") == "3 of 12 studies"
    opened.select_option("#kind", "all")
    opened.click("text=Conf.")
    opened.focus(f"{first} >> a")
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("Enter")
    opened.wait_for_function("new URLSearchParams(location.hash.slice(1)).has('study')")
    opened.wait_for_function("document.querySelector('#detail h2').innerText == 'Study ' + location.hash.split('=')[1]")


def test_a_study_shows_its_grades_and_panels(opened):
    opened.click("#table a >> text=1000")
    opened.wait_for_selector("#detail .panel")
    assert opened.locator("#detail .grades tbody td").count() == 25
    assert opened.locator("#detail .cell b", has_text="Severe").count() == 25
    panels = opened.locator("#detail .panel")
    assert panels.count() == 14
    assert all("study 1000" in panels.nth(index).get_attribute("aria-label") for index in range(14))
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    panels.nth(4).click()
    assert opened.locator("#large .panel").get_attribute("aria-label").startswith("Axial T2 at L1/L2")
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#large .panel").get_attribute("aria-label").startswith("Axial T2 at L2/L3")
    opened.keyboard.press("Escape")
    assert not opened.locator("#large").is_visible()
    assert opened.locator("#detail h2").is_visible()


def test_hostile_text_is_shown_as_text(opened):
    opened.click("#table a >> text=1021")
    notes = opened.inner_text("#detail .notes")
    assert EVIL in notes
    assert "a file: cannot be decoded" in notes


def test_the_legend_is_that_of_the_pictures(opened):
    opened.click("#table a >> text=1000")
    opened.wait_for_selector("#detail .legend")
    lines = opened.locator("#detail .legend li")
    assert lines.all_inner_texts() == [*(words for _, words in MARKS), f"ring: {' '.join(RING_MEANING)}"]
    colours = [lines.nth(index).locator("i").evaluate("e => getComputedStyle(e).backgroundColor") for index in range(4)]
    assert colours == [f"rgb{tuple(colour[::-1])}" for colour, _ in MARKS]


def test_studies_with_names_that_are_no_text_are_opened_one_after_the_other(write_run, tmp_path, browser):
    write_run(tmp_path, count=2, names=["M\udcfcller", "50 % \udcff"])
    tab, faults = browser.new_page(), []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto(write_page(tmp_path).as_uri())
    tab.click("#table a >> nth=0")
    assert tab.inner_text("#detail h2") == "Study M\\udcfcller"
    tab.click("text=Next")
    tab.wait_for_function("document.querySelector('#detail h2').innerText == 'Study 50 % \\\\udcff'")
    assert faults == []
    tab.close()


def test_points_that_are_not_sure_are_named():
    found = {(FORAMINAL, "left", "l3_l4"): 0.02, (FORAMINAL, "right", "l3_l4"): 0.8, (CANAL, "", "l5_s1"): 0.31}
    points = {Target(*parts): Point((0.0, 0.0, 0.0), confidence) for parts, confidence in found.items()}
    assert page_module._unsure(points) == [
        "left foramen of L3/L4 0.02",
        "L5/S1 0.31",
    ]
    assert page_module._unsure({}) == []


def test_series_are_named_by_numbers_and_never_by_folders():
    assert [page_module._plain_id(name) for name in ("12", "1.2.840.7", "DOE_JOHN", "DOE/7", "")] == [
        "12",
        "1.2.840.7",
        "",
        "",
        "",
    ]


def test_rows_that_hold_the_prior_count_for_no_severity(write_run, tmp_path):
    write_run(tmp_path, count=4)
    text = write_page(tmp_path).read_text(encoding="utf-8")
    entries = data_of(parsed(tmp_path / "report.html"))["studies"]
    assert [entry["severity"] for entry in entries][3] == 0
    assert (entries[3]["severe"], entries[3]["moderate"]) == (0, 0)
    assert entries[0]["severity"] > entries[1]["severity"] > 0
    assert text.count('class="ungraded"') == 1  # one study without grades in a colour of its own
