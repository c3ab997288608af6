"""The page of a report in a real browser: from the disk, by keys, on a phone, in the dark."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser import chromium, look, until
from report_runs import KIMG, make_run
from tf_sg2.report.writing import Settings, write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    cards = "cards:count=40,seed=3,size=16x20"
    runs = [make_run(folder / name, source=cards).path for name in ("one", "a-rather-long-name")]
    settings = Settings(generated=4, most_real=8)
    return write_report([str(run) for run in runs], folder / "r.html", settings).as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        yield driver


def visit(driver, address, **screen):
    look(driver, **screen)
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get(address)


def asked_for(driver):
    script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    return [name for name in driver.execute_script(script) if not name.startswith("data:")]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_screen_and_breaks_no_rule(browser, address, width, dark):
    visit(browser, address, width=width, dark=dark)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert asked_for(browser) == []
    assert browser.get_log("browser") == []  # A broken policy or script would be told here.
    broken = "return [...document.images].filter((i) => i.complete && !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(18, 21, 26)") == dark


def contrast(driver, selector):
    """The contrast of an element's text with the first background behind it (WCAG 2)."""
    script = """
    const parse = (c) => c.match(/[\\d.]+/g).map(Number);
    const light = (c) => {
      const [r, g, b] = parse(c).map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let element = document.querySelector(arguments[0]);
    const style = getComputedStyle(element);
    const text = light(element.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const under = () => getComputedStyle(element).backgroundColor;
    while (parse(under())[3] === 0) element = element.parentElement;
    const back = light(under());
    return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
    """
    return driver.execute_script(script, selector)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_lines_can_be_told_from_their_background(browser, address, dark):
    visit(browser, address, dark=dark)
    for selector in (".lead", ".tile .note", ".good .level", ".plot figcaption p", ".plot .tick"):
        assert contrast(browser, selector) >= 4.5, selector
    for color in range(8):
        script = "document.querySelector('.legend').className = arguments[0]"
        browser.execute_script(script, f"legend c{color}")
        assert contrast(browser, ".legend") >= 3, color


def test_the_axis_is_chosen_by_keys(browser, address):
    visit(browser, address)

    def shown(axis):
        return browser.find_element(By.CSS_SELECTOR, f".by-{axis}").is_displayed()

    assert (shown("kimg"), shown("hours")) == (True, False)
    browser.find_element(By.ID, "axis-kimg").send_keys(Keys.ARROW_RIGHT)
    assert (shown("kimg"), shown("hours")) == (False, True)


def test_the_slider_shows_one_time_by_keys_and_plays(browser, address):
    visit(browser, address)
    figure = browser.find_element(By.CSS_SELECTOR, "#samples .slider")
    control = figure.find_element(By.CSS_SELECTOR, "input")

    def shown():
        frames = figure.find_elements(By.CSS_SELECTOR, ".frame")
        return [i for i, frame in enumerate(frames) if frame.is_displayed()]

    last = len(KIMG) - 1
    assert shown() == [last]
    control.send_keys(Keys.HOME)
    assert shown() == [0]
    control.send_keys(Keys.ARROW_RIGHT)
    assert shown() == [1]
    assert control.get_attribute("aria-valuetext").startswith("0.016 kimg")
    figure.find_element(By.CSS_SELECTOR, "button").send_keys(Keys.ENTER)
    until(browser, lambda _: shown() == [last])


def test_values_are_shown_under_the_pointer(browser, address):
    visit(browser, address)
    script = """
    const svg = document.querySelector('.plot svg[data-curves]');
    svg.scrollIntoView({block: 'center', behavior: 'instant'});
    const box = svg.getBoundingClientRect();
    const place = {clientX: box.right - 20, clientY: box.top + 9};
    svg.dispatchEvent(new PointerEvent('pointermove', place));
    return document.querySelector('.tip').innerText;
    """
    words = browser.execute_script(script)
    assert "one, value: 5.2" in words
    assert "a-rather-long-name, floor: real against real: 0.25" in words


def test_without_scripts_curves_and_the_last_pictures_are_there(browser, address):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit(browser, address)
        assert browser.find_element(By.CSS_SELECTOR, ".plot .by-kimg path").is_displayed()
        figure = browser.find_element(By.CSS_SELECTOR, "#samples .slider")
        frames = figure.find_elements(By.CSS_SELECTOR, ".frame")
        assert [frame.is_displayed() for frame in frames] == [False] * (len(KIMG) - 1) + [True]
        assert not figure.find_element(By.CSS_SELECTOR, "input").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
