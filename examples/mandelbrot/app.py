"""The Mandelbrot set as long jobs with progress: what the page, the sweep of zooms and `make demo` run."""

from crossdock import App, Context

app = App()

SHADES = " .:-=+*#%@"


@app.function("mandelbrot", timeout=600, retries=2)
def mandelbrot(
    ctx: Context,
    width: int = 120,
    height: int = 40,
    x: float = -0.75,
    y: float = 0.0,
    span: float = 3.0,
    limit: int = 200,
) -> list[list[int]]:
    """Count for each pixel how many steps it takes to escape, at most `limit`; `span` is the width in the plane."""
    pixel = span / width
    left, top = x - span / 2, y - pixel * height / 2
    rows: list[list[int]] = []
    for row in range(height):
        rows.append([escape(complex(left + pixel * column, top + pixel * row), limit) for column in range(width)])
        ctx.progress(row + 1, height, f"row {row + 1} of {height}")
    return rows


@app.function("drawing")
def drawing(ctx: Context, columns: int = 72) -> str:
    """Draw the picture of the job before this one in characters; a stage of a pipeline."""
    picture = ctx.inputs[0]
    step = max(1, len(picture[0]) // columns)
    most = max(max(row) for row in picture)
    return "\n".join(
        "".join(SHADES[round((count / most) ** 0.5 * (len(SHADES) - 1))] for count in row[::step])
        for row in picture[:: 2 * step]
    )


def escape(point: complex, limit: int) -> int:
    """Return after how many steps `z * z + point` leaves the circle of radius 2, `limit` if it does not."""
    z = 0j
    for step in range(limit):
        z = z * z + point
        if z.real * z.real + z.imag * z.imag > 4:
            return step
    return limit
