"""The page: its files and their headers, and a person's way through it in a real browser."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import shutil
import subprocess
import sys
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser import chromium, look, until
from tf_sg2.latent.seeds import latents
from tf_sg2.serving import Client
from tf_sg2.serving.server.http.app import PAGE_FOLDER
from tiny_exports import LABELS

pytestmark = pytest.mark.browser


def ask(address, path, method="GET", headers=None):
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request(method, path, None, headers or {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), content


def test_the_files_are_served_with_a_strict_policy(server):
    for file in PAGE_FOLDER.iterdir():
        path = "/" if file.name == "index.html" else f"/page/{file.name}"
        status, headers, content = ask(server.rest, path)
        assert status == 200
        assert content == file.read_bytes()
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert ask(server.rest, path, "HEAD")[2] == b""
        assert ask(server.rest, path, "POST")[0] == 405
    assert ask(server.rest, "/page/../page.py")[0] == 404
    assert ask(server.rest, "/v1/models/tiny")[0] == 200


def test_nothing_is_inline_or_from_elsewhere():
    for file in PAGE_FOLDER.iterdir():
        text = file.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|//cdn", text), file.name
        assert not re.search(r"\b(innerHTML|eval|document\.write)\b", text), file.name
    html = (PAGE_FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)


def test_no_file_of_the_page_is_too_long():
    lengths = {file.name: len(file.read_text().splitlines()) for file in PAGE_FOLDER.iterdir()}
    assert max(lengths.values()) <= 400, lengths


def test_only_clients_with_the_token_see_the_models(server, guarded):
    path = "/page/models.json"
    models = json.loads(ask(server.rest, path)[2])["models"]
    assert models == [{"name": "classes", "versions": [1]}, {"name": "tiny", "versions": [1]}]
    assert ask(guarded.rest, "/")[0] == 200
    assert ask(guarded.rest, path)[0] == 401
    assert ask(guarded.rest, path, headers={"Authorization": "Bearer wrong"})[0] == 401
    status, _, content = ask(guarded.rest, path, headers={"Authorization": "Bearer secret"})
    assert status == 200
    assert json.loads(content)["models"][0]["name"] == "tiny"


def test_the_command_serves_the_page_unless_it_is_switched_off(folders):
    command = [sys.executable, "-m", "tf_sg2.commands.main", "serve", f"--model_dir={folders[0]}"]
    command += ["--port=0", "--rest_port=0", "--nopage", "--allowed_hosts=a.lab, B.lab"]
    command += ["--model_name=two\nlines"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith(r"two\nlines: gRPC on")
            address = re.search(r"http://127.0.0.1:\d+", line)[0]
            assert [ask(address, path)[0] for path in ("/", "/page/models.json")] == [404, 404]
            hosts = ("b.lab", "c.lab")
            assert [ask(address, "/", headers={"Host": x})[0] for x in hosts] == [404, 403]
            process.terminate()
            assert "page" not in process.stdout.read()
            process.wait(20)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    with chromium(folder) as driver:
        driver.downloads = folder / "downloads"
        yield driver


class Person:
    """Someone at the page: looks for things, and waits until they are there."""

    def __init__(self, driver, address, width=1280, height=900, dark=False, fragment=""):
        self.driver = driver
        driver.get("about:blank")
        look(driver, width, height, dark)
        driver.get_log("browser")
        driver.get(f"{address}/{fragment}")

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.find(selector).text

    def rest(self):
        """Waits until nothing loads any more."""
        settled = "return !document.querySelector('[aria-busy=true]') && %s === 'ready'"
        state = "document.getElementById('state').textContent"
        try:
            until(self.driver, lambda driver: driver.execute_script(settled % state))
        except TimeoutException as error:
            busy = "return [...document.querySelectorAll('[aria-busy=true]')].map(e => e.outerHTML)"
            told = [self.text("#state"), self.text("#alert"), self.driver.execute_script(busy)]
            raise AssertionError(f"the page does not rest: {told} {self.console()}") from error

    def wait(self, selector, text):
        until(self.driver, lambda _: text in self.text(selector), f"{text!r} in {selector}")

    def click(self, selector):
        self.find(selector).click()
        self.rest()

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, selector, back=False):
        """Presses Tab until the focus is there."""
        target = self.find(selector)
        for _ in range(60):
            if self.driver.switch_to.active_element == target:
                return
            if back:
                ActionChains(self.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(
                    Keys.SHIFT
                ).perform()
            else:
                self.press(Keys.TAB)
        raise AssertionError(f"Tab does not lead to {selector}")

    def console(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def script(self, code, *arguments):
        return self.driver.execute_async_script(code, *arguments)

    def request(self):
        """The command behind Copy, from the clipboard."""
        self.find("#copy").click()
        self.wait("#copy", "Copied")
        return self.script("navigator.clipboard.readText().then(arguments[0])")

    def download(self):
        """The picture as it is downloaded."""
        for file in self.driver.downloads.iterdir():
            file.unlink()
        self.find("#download").click()
        done = until(self.driver, lambda _: list(self.driver.downloads.glob("*.png")))
        return done[0]


def open_page(driver, server, **options):
    person = Person(driver, server.rest, **options)
    person.rest()
    person.click("#model option[value=tiny]")
    return person


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def answered(command):
    """What a shell makes of the command: the PNG."""
    if not shutil.which("curl"):
        pytest.skip("no curl")
    result = subprocess.run(["bash", "-c", command], capture_output=True, check=True, timeout=60)
    return base64.b64decode(json.loads(result.stdout)["predictions"][0]["b64"])


def test_latents_of_the_page_are_those_of_the_server(browser, server):
    person = open_page(browser, server)
    seeds = [0, 1, 12345, 2**31, 2**53 - 1]
    found = person.script(
        "const [seeds, done] = arguments;"
        "import('/page/latents.js').then(m => done(seeds.map(s => m.latent(s, 511))))",
        seeds,
    )
    np.testing.assert_allclose(found, latents(seeds, 511).numpy(), rtol=1e-5, atol=1e-6)


def test_a_person_uses_everything_once(browser, server):
    person = open_page(browser, server, fragment="#seed=7")
    client = Client(server.rest, "tiny")
    assert person.text("#caption") == "Seed 7 · psi 0.70"
    assert len(person.all("#neighbour-list img")) == 12

    # A seed, typed and rolled.
    person.find("#seed").clear()
    person.find("#seed").send_keys("1.5", Keys.ENTER)
    person.wait("#seed-error", "whole number")
    person.find("#seed").clear()
    person.find("#seed").send_keys("5", Keys.ENTER)
    person.wait("#caption", "Seed 5")
    person.rest()
    file = person.download()
    with Image.open(file) as picture:
        assert file.name == "tiny-seed5-psi0.7.png"
        assert picture.text == {
            "seed": "5", "psi": "0.7", "model": "tiny", "version": "1", "Software": "tf_sg2 page",
        }  # fmt: skip
        np.testing.assert_array_equal(np.asarray(picture), pixels(client.generate([5])[0]))
    assert answered(person.request()) == client.generate([5])[0]
    person.click("#roll")
    rolled = int(person.find("#seed").get_attribute("value"))
    person.wait("#caption", f"Seed {rolled}")

    # Truncation.
    person.find("#psi").send_keys(Keys.END)
    person.wait("#caption", "psi 1.20")
    person.rest()
    assert pixels(answered(person.request())).shape == (16, 20, 3)

    # Neighbours: others, more, small steps, around another one.
    first = person.text("#neighbour-list li p")
    person.click("#more")
    assert person.text("#neighbour-list li p") != first
    person.click("#neighbour-list li:nth-child(3) button")
    assert person.text("#caption").startswith(person.text("#neighbour-list li:nth-child(3) p"))
    assert person.find("#neighbour-list li:nth-child(3) button").get_attribute("aria-current")
    person.click("input[value=steps] + span")
    person.find("#step").send_keys(Keys.HOME)
    person.wait("#step-value", "5%")
    person.wait("#neighbour-list li p", "5% towards")
    person.rest()
    person.click("#around")
    person.click("#neighbour-list li:nth-child(2) button")
    assert "5% towards seed" in person.text("#caption")
    with Image.open(person.download()) as picture:
        assert picture.text["interpolation"] == "0.05"
        assert picture.text["psi"] == "1.2"
        assert {"seed_a", "seed_b"} <= picture.text.keys()
        np.testing.assert_array_equal(np.asarray(picture), pixels(answered(person.request())))

    # Two are picked and mixed.
    person.click("#use-b")
    person.find("#seed").clear()
    person.find("#seed").send_keys("3", Keys.ENTER)
    person.wait("#caption", "Seed 3")
    person.click("#use-a")
    assert "A: Seed 3" in person.text("#pair-names")
    person.click("#tab-mix")
    person.click("#mix-list li:first-child button")
    person.wait("#cutoff-value", "all layers from B")
    person.find("#cutoff").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    person.wait("#caption", "cutoff 2")
    person.rest()
    assert '"synthesize_png"' in person.request()
    person.click("#slot-a")
    person.wait("#caption", "Seed 3")
    person.click("#swap")
    assert "B: Seed 3" in person.text("#pair-names")
    person.find("#seed").clear()
    person.find("#seed").send_keys("4", Keys.ENTER)
    person.wait("#caption", "Seed 4")
    person.click("#use-a")
    person.click("#mix-list li:nth-child(3) button")
    with Image.open(person.download()) as picture:
        assert [picture.text[key] for key in ("seed_a", "seed_b", "cutoff")] == ["4", "3", "2"]
        expected = pixels(client.style_mix(4, 3, 2, 1.2)[0])
        np.testing.assert_array_equal(np.asarray(picture), expected)

    # The way between them.
    person.click("#tab-interpolate")
    person.find("#share").send_keys(Keys.HOME)
    person.wait("#caption", "Seed 4, 0% towards seed 3")
    person.rest()
    start = pixels(answered(person.request())).astype(int)
    assert np.abs(start - pixels(client.generate([4], 1.2)[0])).max() <= 1
    person.find("#play").click()
    person.wait("#play", "Stop")
    person.wait("#caption", "20% towards")
    person.click("#play")
    assert person.text("#play") == "Play"
    person.click("#way-list li:last-child button")
    person.wait("#share-value", "100%")

    person.click("#version option:last-child")
    assert "/versions/1:predict" in person.request()
    client.close()
    assert person.console() == []


def test_everything_can_be_reached_by_keys(browser, server):
    person = open_page(browser, server)
    person.driver.refresh()
    person.rest()
    person.press(Keys.TAB)
    assert person.driver.switch_to.active_element.text == "To the picture"
    person.tab_to("#model")
    person.press("tiny")
    person.tab_to("#seed")
    person.press(Keys.END, Keys.BACKSPACE, "8", Keys.ENTER)
    person.wait("#caption", "Seed 8")
    person.tab_to("#roll")
    person.press(Keys.SPACE)
    until(person.driver, lambda _: person.find("#seed").get_attribute("value") != "8")
    person.tab_to("#psi")
    person.press(Keys.HOME)
    person.wait("#caption", "psi 0.00")
    person.press(Keys.END)
    person.wait("#caption", "psi 1.20")
    person.tab_to("#tab-neighbours")
    person.press(Keys.ARROW_RIGHT)
    assert person.find("#tab-mix").get_attribute("aria-selected") == "true"
    person.press(Keys.ARROW_LEFT)
    person.tab_to("input[value=seeds]")
    person.press(Keys.ARROW_RIGHT)
    person.wait("#neighbours-title", "a step towards")
    person.rest()
    person.tab_to("#neighbour-list li:nth-child(2) button")
    person.press(Keys.ENTER)
    person.wait("#caption", "towards")
    person.rest()
    assert person.driver.switch_to.active_element == person.find(
        "#neighbour-list li:nth-child(2) button"
    )
    person.tab_to("#use-a", back=True)
    person.press(Keys.ENTER)
    person.wait("#pair-names", "towards")
    person.wait("#live", "is A")
    person.tab_to("#tab-neighbours")
    person.press(Keys.END)
    person.tab_to("#play")
    person.press(Keys.SPACE)
    person.wait("#play", "Stop")
    person.press(Keys.SPACE)
    person.tab_to("#copy")
    person.press(Keys.ENTER)
    person.wait("#copy", "Copied")
    person.tab_to("#request")
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert person.driver.execute_script(outline) == "solid"
    assert person.console() == []


SMALL = """
return [...document.querySelectorAll("button, select, input:not([type=radio]), .choice span")]
  .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 43.9)
  .map((e) => e.id || e.textContent)
"""


def test_a_phone_shows_all_of_it(browser, server):
    person = open_page(browser, server, width=390, height=844)
    for tab in ("neighbours", "mix", "interpolate"):
        person.click(f"#tab-{tab}")
        width = "return document.documentElement.scrollWidth"
        assert person.driver.execute_script(width) == 390, tab
        assert person.driver.execute_script(SMALL) == [], tab
    person.click("#way-list li:nth-child(2) button")
    person.wait("#caption", "10% towards")
    box = "return document.getElementById('frame').getBoundingClientRect().top"
    assert 0 <= person.driver.execute_script(box) < 844
    assert person.console() == []


CONTRASTS = """
const parts = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (color) => {
  const [r, g, b] = parts(color).slice(0, 3).map((x) => x / 255)
    .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const back = (e) => {
  for (; e; e = e.parentElement) {
    const color = getComputedStyle(e).backgroundColor;
    if (parts(color)[3] !== 0) return color;
  }
};
const poor = {};
for (const e of document.querySelectorAll("h1, h2, p, label, span, button, output, pre, code")) {
  if (!e.textContent.trim() || !e.checkVisibility()) continue;
  const [a, b] = [light(getComputedStyle(e).color), light(back(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor[e.id || e.textContent] = ratio;
}
return [light(back(document.body)), poor];
"""


SLOW_CLASSES = """
const fetched = window.fetch;
window.fetch = async (path, ...rest) => {
  if (path.includes("models/classes/metadata")) {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    window.slowAnswered = true;
  }
  return fetched(path, ...rest);
};
"""


def test_the_model_chosen_last_is_shown_however_late_others_answer(browser, server):
    person = open_page(browser, server)
    person.find("#model option[value=tiny]").click()
    person.rest()
    browser.execute_script(SLOW_CLASSES)
    person.find("#model option[value=classes]").click()
    person.find("#model option[value=tiny]").click()
    until(browser, lambda _: browser.execute_script("return window.slowAnswered"))
    time.sleep(1)
    person.rest()
    assert "/models/tiny:predict" in person.request()
    assert not person.find("#class-field").is_displayed()
    person.click("#roll")
    assert "/models/tiny:predict" in person.request()
    assert person.console() == []


SLOW_FIRST_LIST = """
const fetched = window.fetch;
let first = true;
window.fetch = async (path, ...rest) => {
  if (path.includes("models.json") && first) {
    first = false;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const answer = await fetched(path, ...rest);
    window.slowAnswered = true;
    return answer;
  }
  return fetched(path, ...rest);
};
"""


def test_a_late_refusal_of_an_older_token_is_ignored(browser, guarded):
    person = Person(browser, guarded.rest)
    browser.execute_script("sessionStorage.clear()")
    browser.refresh()
    until(browser, lambda _: person.find("#token-form").is_displayed())
    browser.execute_script(SLOW_FIRST_LIST)
    person.press("wrong", Keys.ENTER)
    person.find("#token").clear()
    person.find("#token").send_keys("secret", Keys.ENTER)
    person.rest()
    until(browser, lambda _: browser.execute_script("return window.slowAnswered"))
    time.sleep(0.5)
    assert person.text("#state") == "ready"
    assert not person.find("#token-form").is_displayed()
    assert not person.find("#alert").is_displayed()
    browser.execute_script("sessionStorage.clear()")


@pytest.mark.parametrize("dark", [False, True])
def test_contrast_is_good_by_day_and_by_night(browser, server, dark):
    person = open_page(browser, server, dark=dark)
    for tab in ("mix", "neighbours"):
        person.click(f"#tab-{tab}")
        background, poor = person.driver.execute_script(CONTRASTS)
        assert (background < 0.1) == dark
        assert poor == {}


def test_a_token_is_asked_for_and_kept(browser, guarded):
    person = Person(browser, guarded.rest)
    until(browser, lambda _: person.find("#token-form").is_displayed())
    assert browser.switch_to.active_element == person.find("#token")
    assert not person.find("#alert").is_displayed()
    person.press("wrong", Keys.ENTER)
    person.wait("#alert-text", "A valid token is needed")
    person.press("secret", Keys.ENTER)
    person.rest()
    assert not person.find("#token-form").is_displayed()
    assert not person.find("#alert").is_displayed()
    command = person.request()
    assert "secret" not in command
    assert "Bearer $TOKEN" in command
    with Client(guarded.rest, token="secret") as client:
        assert answered(f"export TOKEN=secret\n{command}") == client.generate([0])[0]
    browser.refresh()
    person.rest()
    refused = [entry for entry in person.console() if "401" not in entry]
    assert refused == []


def test_a_lost_server_is_said_and_tried_again(browser, server):
    person = open_page(browser, server)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*:predict"]})
    person.find("#roll").click()
    person.wait("#alert-text", "The server cannot be reached")
    assert person.find("#alert").get_attribute("role") == "alert"
    assert person.text("#state") == "error"
    failed = person.all("#neighbour-list .failed img")
    assert len(failed) == 12
    assert not any(image.get_attribute("src") for image in failed)
    person.find("#psi").send_keys(Keys.END)
    person.wait("#psi-value", "1.20")
    time.sleep(0.5)
    with Image.open(person.download()) as picture:  # It is still the one of before.
        assert picture.text["seed"] == "0"
        assert picture.text["psi"] == "0.7"
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    person.find("#retry").click()
    person.rest()
    assert not person.find("#alert").is_displayed()
    assert not person.all(".failed")


def test_conditional_models_have_classes(browser, server):
    person = open_page(browser, server)
    assert not person.find("#class-field").is_displayed()
    person.find("#model option[value=classes]").click()
    person.wait("#request", "labels")
    assert '"labels":[1,0,0]' in person.request()
    person.find("#class option:last-child").click()
    person.wait("#request", "[0,0,1]")
    person.rest()
    with Client(server.rest, "classes") as client:
        assert answered(person.request()) == client.generate([0], labels=np.eye(LABELS)[2])[0]
    with Image.open(person.download()) as picture:
        assert picture.text["labels"] == "0,0,1"
        assert picture.text["model"] == "classes"
    for tab in ("mix", "interpolate"):
        person.click(f"#tab-{tab}")
    assert not person.all(".failed")
    assert person.console() == []
