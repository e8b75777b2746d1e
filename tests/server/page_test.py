#!/usr/bin/env python3
"""The page in a headless Chromium: tests/server/page_test.py CAIRN MODEL STACK [FOLDER FOR SCREENSHOTS]
STACK: of any model, for the memory slider (`cairn stack MODEL --sweeps 0 --importance-windows 0 -o STACK`).
Needs `playwright` from PyPI and a chromium on PATH (Debian's).
Ends with status 0 when a user would have got what she asked for."""
import contextlib
import pathlib
import re
import shutil
import sys

from playwright.sync_api import Browser, Page, expect, sync_playwright
from running_server import running

CAIRN, MODEL, STACK = sys.argv[1:4]
SHOTS = pathlib.Path(sys.argv[4]) if len(sys.argv) > 4 else None


@contextlib.contextmanager
def serve(*flags: str):
    with running(CAIRN, "--temperature", "0", *flags) as server:
        yield server.address


@contextlib.contextmanager
def opened(browser: Browser, url: str, **options):
    context = browser.new_context(**options)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text)
            if line.type == "error" and "status of 40" not in line.text else None)
    page.goto(url)
    yield page
    context.close()
    assert not errors, errors  # what the policy blocks is told there too


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"{name}.png")


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def done(page: Page) -> None:
    expect(page.locator("#status")).to_have_text(re.compile("Done|Stopped"), timeout=120_000)


def chats(browser: Browser, url: str) -> None:
    with opened(browser, url, viewport={"width": 1100, "height": 760}) as page:
        expect(page.locator("#model option")).not_to_have_count(0)
        # Streams: more than one state of the answer is seen before it is whole.
        say(page, "Write a Python function that reverses a string, with an example.")
        answer = page.locator("article.assistant").last
        expect(answer).to_have_class(re.compile("writing"))
        lengths = set()
        while "writing" in answer.get_attribute("class"):
            lengths.add(len(answer.locator(".text").inner_text()))
        assert len(lengths) > 3, lengths
        done(page)
        expect(answer.locator(".note")).to_contain_text("tok/s")
        first = answer.locator(".text").inner_text()
        shoot(page, "light")

        # The second turn reads what is new.
        say(page, "And in C?")
        done(page)
        kept = re.search(r"(\d+) read, (\d+) of them kept", page.locator("article.assistant .note").last.inner_text())
        assert kept and int(kept[2]) >= 64, page.locator("article.assistant .note").last.inner_text()

        # Stop, by the button and by Escape.
        for stop in (lambda: page.get_by_role("button", name="Stop").click(), lambda: page.keyboard.press("Escape")):
            say(page, "Count from one to five hundred, in words.")
            expect(page.locator("article.assistant .text").last).not_to_be_empty(timeout=60_000)
            stop()
            expect(page.locator("#status")).to_have_text("Stopped")
            expect(page.locator("article.assistant .note").last).to_contain_text("stopped")

        # Again: at temperature 0 the same. Edit: what followed is gone.
        page.locator("article.assistant").first.get_by_role("button", name="Again").click()
        done(page)
        expect(page.locator("article")).to_have_count(2)
        assert page.locator("article.assistant .text").last.inner_text() == first
        page.locator("article.user").first.get_by_role("button", name="Edit").click()
        page.get_by_label("Your message").fill("What is the capital of France?")
        page.get_by_label("Your message").press("Enter")
        done(page)
        expect(page.locator("article.user .text")).to_have_text("What is the capital of France?")
        asked = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 8}
        alone = page.request.post(url + "/v1/chat/completions", data=asked).json()
        expect(page.locator("article.assistant .text")).to_contain_text(alone["choices"][0]["message"]["content"].strip())

        # Kept over a reload, beside another one; a system prompt goes along.
        page.get_by_role("button", name="New chat").click()
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("System prompt of this chat").fill("You are a pirate.")
        page.get_by_label("Most tokens").fill("24")
        page.get_by_role("button", name="Done").click()
        with page.expect_request("**/v1/chat/completions") as request:
            say(page, "Hello")
        assert request.value.post_data_json["messages"][0] == {"role": "system", "content": "You are a pirate."}
        assert request.value.post_data_json["max_tokens"] == 24
        done(page)
        page.reload()
        expect(page.locator("#chats .chat")).to_have_count(2)
        expect(page.locator("article.user .text")).to_have_text("Hello")
        page.locator("#chats .chat").last.click()
        expect(page.locator("article.user .text")).to_have_text("What is the capital of France?")
        page.get_by_role("button", name="Delete What is").click()
        expect(page.locator("#chats .chat")).to_have_count(1)

        # By keyboard alone: from the message back to the theme, every step with a visible focus.
        page.get_by_label("Message", exact=True).focus()
        for _ in range(40):
            page.keyboard.press("Shift+Tab")
            focus = page.evaluate("(() => { const s = getComputedStyle(document.activeElement);"
                                  " return [document.activeElement.id, s.outlineStyle, s.outlineWidth]; })()")
            assert focus[1] != "none" and focus[2] != "0px", focus
            if focus[0] == "theme":
                break
        assert focus[0] == "theme", focus
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.reload()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 26, 22)"
        contrast(page)


def contrast(page: Page) -> None:
    """Text against its background, at least 4.5:1 (WCAG AA), in both themes."""
    ratio = """([fore, back]) => {
      const light = (name) => {
        const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim().slice(1);
        const [r, g, b] = [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
                                   .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const [x, y] = [light(fore), light(back)].sort().reverse();
      return (x + 0.05) / (y + 0.05);
    }"""
    for theme in ("light", "dark"):
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        for pair in (["--text", "--back"], ["--text", "--own"], ["--text", "--code"], ["--faint", "--back"],
                     ["--faint", "--side"], ["--on-accent", "--accent"], ["--accent", "--back"], ["--error", "--back"]):
            assert page.evaluate(ratio, pair) >= 4.5, (theme, pair)


def markdown(browser: Browser, url: str) -> None:
    """What a model writes is shown as text, whatever it holds."""
    written = ("# Title\n\n1. one\n2. **two** and `code`\n   - inner\n\n| a | b |\n|---|---|\n| 1 | *2* |\n\n> quoted\n\n"
               "```js\nlet x = 1 < 2;\n```\n<img src=x onerror=alert(1)> [bad](javascript:alert(1)) [good](https://example.org)\n"
               + ">" * 500 + " deep\n" + "".join(" " * i + "- x\n" for i in range(100)))
    with opened(browser, url) as page:
        page.evaluate("""(content) => localStorage.setItem("cairn.chat.m", JSON.stringify({ id: "m", changed: 9e15,
          title: "m", system: "", messages: [{ role: "user", content: "<b>x</b>" }, { role: "assistant", content }] }))""", written)
        page.reload()
        page.locator("#chats .chat").first.click()
        text = page.locator("article.assistant .text").last
        for selector, count in (("h3", 1), ("ol > li", 2), ("ol li ul", 1), ("table td em", 1), ("blockquote p", 2),
                                ("figure pre", 1), ("img", 0), ("script", 0)):
            found = text.locator(selector).count()
            assert found == count or (selector == "blockquote p" and found >= 2), (selector, found)
        assert text.locator("a").evaluate_all("all => all.map((a) => a.href)") == ["https://example.org/"]
        expect(page.locator("article.user .text")).to_have_text("<b>x</b>")
        page.get_by_role("button", name="Copy").nth(1).click()
        shoot(page, "markdown")


def phone(browser: Browser, url: str) -> None:
    with opened(browser, url, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True,
                color_scheme="dark") as page:
        say(page, "Name three colours.")
        done(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        shoot(page, "phone")
        expect(page.get_by_role("button", name="New chat")).not_to_be_visible()
        page.get_by_role("button", name="Chats and memory").tap()
        expect(page.get_by_role("button", name="New chat")).to_be_visible()
        page.wait_for_timeout(300)
        shoot(page, "phone_side")
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="New chat")).not_to_be_visible()
        small = page.locator("header button:visible, #send").evaluate_all(
            "all => all.filter((one) => one.getBoundingClientRect().height < 36).map((one) => one.id)")
        assert not small, small  # for fingers


def key(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        expect(page.get_by_role("dialog")).to_be_visible()
        expect(page.get_by_label("Key, if the server asks for one")).to_be_focused()
        page.keyboard.type("secret")
        shoot(page, "key")
        page.keyboard.press("Enter")
        expect(page.locator("#model option")).not_to_have_count(0)
        say(page, "Hello")
        done(page)
        assert page.evaluate("[localStorage.getItem('cairn.key'), sessionStorage.getItem('cairn.key')]") == [None, "secret"]


def wait_for_whole_stack(page: Page, url: str) -> float:
    """The bits that the page shows once all of the stack is in memory."""
    for _ in range(200):
        stacks = [m["stack"] for m in page.request.get(url + "/memory").json()["models"] if m["stack"]]
        if stacks and all(s["bytes"] == s["all_bytes"] for s in stacks):
            break
        page.wait_for_timeout(100)
    page.wait_for_timeout(2500)  # the page asks from time to time
    return float(page.locator("#memory-bits").inner_text())


def memory(browser: Browser, url: str) -> None:
    with opened(browser, url, viewport={"width": 1100, "height": 760}) as page:
        slider = page.get_by_label("Budget")
        expect(slider).to_be_visible(timeout=20_000)
        whole = wait_for_whole_stack(page, url)
        resident = page.request.get(url + "/memory").json()["process_bytes"]
        say(page, "x")
        page.wait_for_timeout(3000)
        box = slider.bounding_box()
        page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
        page.mouse.down()
        for step in range(1, 21):  # while tokens flow
            page.mouse.move(box["x"] + box["width"] * (1 - 0.03 * step), box["y"] + box["height"] / 2)
            page.wait_for_timeout(150)
        page.mouse.up()
        page.wait_for_timeout(3000)
        now = page.request.get(url + "/memory").json()
        bits = float(page.locator("#memory-bits").inner_text())
        print(f"memory: {resident >> 20} MiB and {whole} bits, by the slider {now['process_bytes'] >> 20} and {bits};"
              f" budget {now['budget_bytes'] >> 20}")
        assert now["process_bytes"] <= now["budget_bytes"] < resident and bits < whole - 0.5
        shoot(page, "memory")
        slider.focus()
        page.keyboard.press("End")
        page.wait_for_timeout(500)
        assert page.request.get(url + "/memory").json()["budget_bytes"] is None
        assert wait_for_whole_stack(page, url) == whole


def main() -> None:
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with serve(MODEL, "--context", "2048", "--max-tokens", "160") as url:
            for part in (chats, markdown, phone):
                part(browser, url)
                print(f"{part.__name__}: as it should be")
        with serve(MODEL, "--api-key", "secret", "--max-tokens", "16") as url:
            key(browser, url)
            print("key: as it should be")
        with serve(STACK, "--ignore-end") as url:
            memory(browser, url)
            print("memory: as it should be")
        browser.close()


main()
