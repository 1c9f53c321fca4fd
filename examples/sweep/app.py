"""An epidemic in a town of 10,000 (the SIR model, day by day), to be run for many values of its parameters."""

from crossdock import App, Context

app = App()


@app.function("epidemic", timeout=60)
def epidemic(ctx: Context, contagion: float, recovery: float, people: int = 10_000, days: int = 365) -> dict[str, float]:
    """Return when the epidemic peaks, how many are ill then, and the share that was ever ill."""
    healthy, ill, peak, peak_day = people - 10.0, 10.0, 10.0, 0
    for day in range(1, days + 1):
        infected = min(healthy, contagion * healthy * ill / people)
        healthy, ill = healthy - infected, ill + infected - recovery * ill
        if ill > peak:
            peak, peak_day = ill, day
    ctx.progress(days, days)
    return {"peak": round(peak), "day": peak_day, "share": round(1 - healthy / people, 3)}
