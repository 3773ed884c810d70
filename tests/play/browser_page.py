"""The page of ``fastnn play`` in a browser: what its tests do with it and read from it."""

from fastnn.play.settings import PlaySettings

DONE = "window.play && play.frame && play.frame.status === 'done' && play.stats.frames > 0"


class Page:
    """The page in the browser, and what one does on it."""

    def __init__(self, browser, port):
        self.browser, self.address = browser, f"http://127.0.0.1:{port}/"
        self.value, self.until = browser.value, browser.until

    def open(self, hash_="", ready=DONE, **look):
        self.browser.look(**look)
        self.browser.call("Page.navigate", url="about:blank")
        self.browser.events.clear()
        self.browser.call("Page.navigate", url=self.address + hash_)
        self.until(ready)
        return self

    def set(self, field, value, kind="input"):
        """Move a slider, or choose of a list, and wait for the picture."""
        selector = f"[data-field={field}]" if kind == "input" else f"#f-{field}"
        self.after(
            f"(() => {{ const box = document.querySelector('{selector}');"
            f"box.value = {value!r}; box.dispatchEvent(new Event('{kind}')); }})()"
        )

    def after(self, action):
        """Do something and wait until the picture of the last request is there."""
        self.value(f"play.frame.status = 'old'; {action}")
        self.until("play.frame.id === play.link.number && play.frame.status === 'done'")
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def click(self, id_):
        self.value(f"document.getElementById('{id_}').click()")

    def text(self, id_):
        return self.value(f"document.getElementById('{id_}').textContent")

    def pixels(self, id_="picture"):
        """A number that changes when a canvas does."""
        return self.value(f"document.getElementById('{id_}').toDataURL()")

    def settings(self):
        return PlaySettings.check(self.value("play.settings"))

    def numbers(self):
        """Cells of the table of accuracies by row and column."""
        rows = self.value(
            "[...document.querySelectorAll('#numbers tr')].map(r => [...r.cells]"
            ".map(c => c.textContent))"
        )
        return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[1:]}
