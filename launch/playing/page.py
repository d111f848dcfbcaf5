"""The page itself, in Gradio: what is asked for on the left, what comes of it on the right."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import escape

from launch.changes import Change, Continue, Replace, Vary
from launch.playing.board import board, history
from launch.playing.job import Cancelled, Job
from launch.playing.pieces import Batch
from launch.playing.studio import MOST_BATCHES, Reporter, Studio
from launch.playing.wishes import MOST_SEED, Wish, by_category, tag_of
from tokenizer_bridge.token_dataset.errors import UserError, explain

ANY = "any"
STEPS = (16, 32, 64, 128)
DEFAULT_KEEP = 0.4
DEFAULT_GUIDANCE = 2.0  # the demo's tags were heard best with it
_FILES = Path(__file__).parent
_WELCOME = (
    '<div class="welcome">Nothing has been made yet. Choose what it should be like, or nothing, '
    "and let four pieces be made.</div>"
)


class Page:
    """The page in front of a studio; `blocks` is what Gradio serves."""

    def __init__(self, studio: Studio):
        self.studio = studio
        self._jobs: dict[str, Job] = {}  # session → what is being made for it
        self._lock = threading.Lock()
        self._categories = by_category(studio.model.tags)
        self.blocks = self._build()

    def close(self) -> None:
        """Ends the serving, and what is being made."""
        for job in list(self._jobs.values()):
            job.cancel()
            job.wait()
        self.blocks.close(verbose=False)

    def _build(self) -> gr.Blocks:
        studio = self.studio
        with gr.Blocks(title="SEDD-Music", analytics_enabled=False, fill_width=True) as blocks:
            made = gr.State([], delete_callback=studio.forget)  # numbers of batches
            self._html(
                f"<h1>SEDD-Music</h1><p>Model {escape(studio.source.workdir)}, codec "
                f"{escape(studio.codec.info.name)}: music from noise, all of a piece at once.</p>",
                "title",
            )
            default = studio.default_wish
            with gr.Row():
                with gr.Column(scale=1, min_width=280, elem_id="wishes"):
                    with gr.Row(elem_classes="grid"):
                        tags = [
                            gr.Dropdown(
                                [ANY, *names], value=ANY, label=category.capitalize(), min_width=100
                            )
                            for category, names in self._categories.items()
                        ]
                    guidance = gr.Slider(
                        0, 8, DEFAULT_GUIDANCE, step=0.5, label="How much these count",
                        visible=bool(tags), buttons=[],
                    )  # fmt: skip
                    length = gr.Radio(
                        [(f"{studio.seconds(n):.3g} s", n) for n in studio.lengths],
                        value=default.length, label="Length", elem_id="length",
                    )  # fmt: skip
                    make = gr.Button("Make four pieces", variant="primary", elem_id="make")
                    stop = gr.Button("Stop", visible=False, elem_id="stop")
                    status = self._html(say(""), "status")
                    with gr.Row(elem_id="seeds"):
                        seed = gr.Number(
                            default.seed, label="Seed", precision=0, minimum=0, maximum=MOST_SEED,
                            min_width=90, scale=2,
                        )  # fmt: skip
                        dice = gr.Button("Roll", min_width=60, scale=1, elem_id="dice")
                    rolls = gr.Checkbox(
                        True, label="Roll a new seed each time", container=False, elem_id="rolls"
                    )
                    with gr.Accordion("More", open=False, elem_id="more"):
                        steps = gr.Radio(STEPS, value=default.steps, label="Steps", elem_id="steps")
                        sampler = gr.Radio(studio.samplers, value=default.sampler, label="Sampler")
                        temperature = gr.Slider(
                            0.1, 2, 1, step=0.05, label="Temperature", buttons=[]
                        )
                        top_p = gr.Slider(0.05, 1, 1, step=0.05, label="Top-p", buttons=[])
                        keep = gr.Slider(
                            0, 0.95, DEFAULT_KEEP, step=0.05, buttons=[],
                            label="Kept by “More like this”",
                        )  # fmt: skip
                    upload = gr.UploadButton("Or begin with your own audio", elem_id="upload")
                with gr.Column(scale=3, min_width=320):
                    shown = self._html(_WELCOME, "board", _read("board.js"))
                    listed = self._html("", "history", _read("history.js"))
            wishes = [rolls, seed, length, steps, sampler, guidance, temperature, top_p, *tags]
            outputs = [status, shown, listed, made, seed, make, stop]
            private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
            works: dict[str, Any] = {"outputs": outputs, "concurrency_limit": None, **private}
            make.click(self.make, [made, *wishes], **works)
            shown.ask(self.change, [made, keep, *wishes], **works)
            upload.upload(self.upload, [made, upload], **works)
            stop.click(self.stop, queue=False, **private)
            dice.click(roll, outputs=seed, queue=False, **private)
            listed.pick(self.pick, made, [shown, listed], queue=False, **private)
            blocks.unload(self.stop)
        return blocks

    @staticmethod
    def _html(value: str, name: str, script: str | None = None) -> gr.HTML:
        return gr.HTML(value, elem_id=name, js_on_load=script, apply_default_css=False)

    def make(
        self, request: gr.Request, made: list[int], rolls: bool, seed: int | None, *wishes: Any
    ) -> Iterator[Sequence[Any]]:
        """New pieces, with reports on the way."""
        seed = roll() if rolls else seed

        def work(report: Reporter) -> Batch:
            return self.studio.make(self._wish(seed, *wishes), report)

        yield from self._follow(request.session_hash, made, work, seed)

    def change(
        self, request: gr.Request, event: gr.EventData, made: list[int], keep: float, rolls: bool,
        seed: int | None, length: int, *wishes: Any,
    ) -> Iterator[Sequence[Any]]:  # fmt: skip
        """Pieces made of one of this reader's."""
        seed = roll() if rolls else seed
        asked = event._data

        def work(report: Reporter) -> Batch:
            batch = self.studio.batch(asked["batch"]) if asked["batch"] in made else None
            if batch is None:
                raise UserError("that piece is no longer here")
            change: Change = Continue(self.studio.seconds(length))
            if asked["mode"] == Vary.mode:
                change = Vary(float(keep))
            elif asked["mode"] == Replace.mode:
                start, stop = map(float, asked["stretch"])
                change = Replace([(start, stop)])
            wish = self._wish(seed, length, *wishes)
            return self.studio.change(batch, asked["piece"], change, wish, report)

        yield from self._follow(request.session_hash, made, work, seed)

    def upload(self, request: gr.Request, made: list[int], path: str) -> Iterator[Sequence[Any]]:
        """A recording of this reader's."""

        def work(report: Reporter) -> Batch:
            return self.studio.upload(Path(path), Path(path).name, report)

        yield from self._follow(request.session_hash, made, work, gr.skip())

    def _wish(
        self, seed: int | None, length: int, steps: int, sampler: str, guidance: float,
        temperature: float, top_p: float, *names: str,
    ) -> Wish:  # fmt: skip
        if seed is None:
            raise UserError("a seed is needed: a whole number")
        tags = tuple(
            tag_of(category, name, self.studio.model.tags)
            for category, name in zip(self._categories, names, strict=True)
            if name != ANY
        )
        return Wish(
            length=length,
            steps=steps,
            sampler=sampler,
            seed=seed,
            tags=tags,
            guidance=guidance,
            temperature=temperature,
            top_p=top_p,
        )

    def _follow(
        self, session: str, made: list[int], work: Callable[[Reporter], Batch], seed: Any
    ) -> Iterator[Sequence[Any]]:
        """Yields what the page shows while work is done, and what has come of it.

        One thing at a time: what is asked for meanwhile is left alone.
        """
        with self._lock:
            if is_free := session not in self._jobs:
                job = self._jobs[session] = Job(work)
        if not is_free:
            yield (gr.skip(),) * 7
            return
        working = (gr.update(visible=False), gr.update(visible=True))
        ready = (gr.update(visible=True), gr.update(visible=False))
        rest = (gr.skip(),) * 3
        is_left = False
        try:
            yield say("Getting ready"), *rest, seed, *working
            for report in job.reports():
                yield say(report.text, report.share), *rest, gr.skip(), *working
            batch = job.result()
        except GeneratorExit:  # the reader has gone
            is_left = True
            raise
        except Cancelled:
            yield say("Stopped."), *rest, gr.skip(), *ready
        except Exception as error:
            if not (explained := explain(error)):
                yield problem("That did not work; the terminal says why."), *rest, gr.skip(), *ready
                raise
            yield problem(explained[1]), *rest, gr.skip(), *ready
        else:
            self.studio.forget(made[:-MOST_BATCHES])
            made = [*made[-MOST_BATCHES:], batch.number]
            yield say(""), *self._shown(made, batch), made, gr.skip(), *ready
        finally:
            if is_left:
                job.abandon(lambda batches: self._forget(session, batches))
            else:
                self._jobs.pop(session, None)

    def _forget(self, session: str, batches: Sequence[Batch]) -> None:
        """Removes what was made for a reader who has gone meanwhile."""
        self.studio.forget(batch.number for batch in batches)
        self._jobs.pop(session, None)

    def stop(self, request: gr.Request) -> None:
        """Cancels what is being made for this reader."""
        if job := self._jobs.get(request.session_hash):
            job.cancel()

    def pick(self, made: list[int], event: gr.EventData) -> tuple[str, str]:
        """An earlier batch of this reader's on the board."""
        number = event._data["batch"]
        batch = self.studio.batch(number) if number in made else None
        return self._shown(made, batch) if batch else (gr.skip(), gr.skip())

    def _shown(self, made: Sequence[int], batch: Batch) -> tuple[str, str]:
        earlier = [found for number in made if (found := self.studio.batch(number))]
        return (
            board(batch, self.studio, file_url),
            history(earlier, batch.number, self.studio),
        )


def launch(page: Page, host: str, port: int | None, max_upload_mb: int) -> str:
    """Starts to serve a page, and returns its address. Raises OSError where it cannot listen.

    Colours and fonts are the reader's own machine's, and nothing is fetched from elsewhere.
    """
    fonts = ["system-ui", "sans-serif"]
    theme = gr.themes.Base(
        primary_hue="indigo", neutral_hue="slate", font=fonts, font_mono=["ui-monospace"]
    )
    _, address, _ = page.blocks.launch(
        server_name=host, server_port=port, share=False, quiet=True, prevent_thread_lock=True,
        allowed_paths=[str(page.studio.folder)], max_file_size=f"{max_upload_mb}mb",
        ssr_mode=False, mcp_server=False, pwa=False, footer_links=[], run_history=False,
        enable_monitoring=False,
        _frontend=False,  # once more it asks itself, and gives up where that takes 3 s
        theme=theme, css=_read("page.css"),
    )  # fmt: skip
    return address


def file_url(path: Path) -> str:
    """The address of a file that Gradio may serve, relative to the page's."""
    return f"gradio_api/file={path}"


def roll() -> int:
    """A seed that is easily typed again."""
    return random.randrange(100_000)


def say(text: str, share: float | None = None) -> str:
    """The status line; share: of a bar, None for no bar."""
    bar = "" if share is None else f'<div class="bar"><div style="width: {share:.1%}"></div></div>'
    return f'<div class="status" role="status">{escape(text)}{bar}</div>'


def problem(text: str) -> str:
    """The status line of something that did not work."""
    return f'<div class="status" role="alert"><span class="problem">{escape(text)}</span></div>'


def _read(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")
