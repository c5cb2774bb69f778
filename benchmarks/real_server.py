"""A real server against this machine's own model: python benchmarks/real_server.py ADDRESS.

The server has the embedded checkpoint, in vLLM, llama.cpp or `transformers serve`. Greedy answers
about pictures of the same pixels should be the same words at the same visual tokens; what a
question costs beyond a bare request that sends the same body should be 20 ms of CPU at most; and
four requests in flight should end a batch before one does. Answers take turns, and medians count.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from functools import partial

import httpx2
from server import answer, bare, timed

from napari_pathreason import Region, models, open_slide, tasks
from napari_pathreason.engine import Performer
from napari_pathreason.models.server import body_of, load_server
from napari_pathreason.sample_data import samples
from napari_pathreason.types import Completion, GenerationSettings, Prompt, Query

QUESTIONS = (
    Query("vqa", "Is there tumour?", ("yes", "no")),
    Query("vqa", "Which tissue is this?"),
    Query("vqa", "How many nuclei are there?"),
    Query("detection", "nuclei"),
)
WANTED_MS = 20.0
GREEDY = GenerationSettings()


def prompts(side: int) -> list[Prompt]:
    """Questions about three places of each bundled picture, at ``side`` x ``side`` px."""
    found = []
    for sample in samples():
        with open_slide(sample.path, 0.5) as slide:
            for step in range(3):
                at = Region(64 * step, 64 * step, side, side)
                pixels = slide.read_region(at, (side, side)).pixels
                found += [
                    # unbound: servers hold an answer to its choices, and this machine does not
                    Prompt((pixels,), tasks.TASKS[one.task].messages(one), ())
                    for one in QUESTIONS
                ]
    return found


def completed(performer: Performer, one: Prompt) -> Completion:
    """A whole answer."""
    *_, last = performer.generate(one, GREEDY, threading.Event())
    assert isinstance(last, Completion)
    return last


def agreement(local: Performer, server: Performer, asked: list[Prompt]) -> tuple[int, int]:
    """How many of the answers are the same words, and how many cost the same visual tokens."""
    words = tokens = 0
    for one in asked:
        mine, theirs = completed(local, one), completed(server, one)
        words += mine.text.strip() == theirs.text.strip()
        tokens += mine.visual_tokens == theirs.visual_tokens
        if mine.text.strip() != theirs.text.strip():
            print(f"here  {mine.text!r}\nthere {theirs.text!r}", file=sys.stderr)
    return words, tokens


def main() -> int:
    """Measure, print a table, and return 1 where it is not as wanted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address")
    parser.add_argument("--rounds", type=int, default=8)
    args = parser.parse_args()
    server = load_server(args.address)
    local = models.load_models("embedded").performer
    print("| visual tokens | answers | same words | same visual tokens |\n|---|---|---|---|")
    for side in (128, 256, 512):
        asked = prompts(side)
        words, tokens = agreement(local, server, asked)
        print(f"| {(side // 32) ** 2} | {len(asked)} | {words} | {tokens} |", flush=True)

    asked = prompts(256)[: args.rounds]
    url, _, model = server.info.name.partition("#")
    url = args.address.partition("#")[0]
    ours, theirs = [], []
    with httpx2.Client(trust_env=False, timeout=300) as client:
        for one in asked:
            body = {
                "model": model or server.info.name,
                "stream": True,
                "messages": body_of(one.messages, one.pictures, near=True),
                "max_tokens": 256,
                "temperature": 0,
                "stream_options": {"include_usage": True},
                "logprobs": True,
                "top_logprobs": 20,
            }
            timed(partial(answer, server, one))
            ours.append(timed(partial(answer, server, one)))
            theirs.append(timed(partial(bare, client, url, body)))
    beyond = [1000 * (a[1] - b[1]) for a, b in zip(ours, theirs, strict=True)]
    clock = [1000 * (a[0] - b[0]) for a, b in zip(ours, theirs, strict=True)]
    print("\n| an answer at 64 tokens | ms | of our CPU |\n|---|---|---|")
    for name, many in (("ours", ours), ("a bare request", theirs)):
        wall, cpu = (1000 * statistics.median(one[place] for one in many) for place in (0, 1))
        print(f"| {name} | {wall:.0f} | {cpu:.1f} |")
    print(f"| beyond it | {statistics.median(clock):.0f} | {statistics.median(beyond):.1f} |")

    spent = {}
    for count in (1, 4):
        performer = load_server(args.address, at_once=count)
        began = time.perf_counter()
        performer.generate_batch(prompts(256)[:16], GREEDY, threading.Event())
        spent[count] = time.perf_counter() - began
    print(f"\n| 16 answers | s |\n|---|---|\n| one in flight | {spent[1]:.1f} |")
    print(f"| four | {spent[4]:.1f} |")
    return 0 if statistics.median(beyond) <= WANTED_MS and spent[4] < spent[1] else 1


if __name__ == "__main__":
    sys.exit(main())
