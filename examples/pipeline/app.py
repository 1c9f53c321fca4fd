"""Three kinds that build on one another: count words of texts, merge the counts, make a report."""

import re
from collections import Counter

from crossdock import App, Context

app = App()


@app.function("count-words")
def count_words(ctx: Context, text: str) -> dict[str, int]:
    """Count the words of a text."""
    words = re.findall(r"[a-z']+", text.lower())
    ctx.log(f"{len(words)} words")
    return dict(Counter(words))


@app.function("merge-counts")
def merge_counts(ctx: Context) -> dict[str, int]:
    """Add up what the jobs before this one counted."""
    total: Counter[str] = Counter()
    for counts in ctx.inputs:
        total.update(counts)
    return dict(total)


@app.function("report")
def report(ctx: Context, top: int = 5) -> list[str]:
    """Name the most frequent words of the job before this one."""
    (counts,) = ctx.inputs
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{word} {count}" for word, count in ranked[:top]]
