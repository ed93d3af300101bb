"""Plots of events, deliveries and latencies for notebooks: static SVG without scripts, for light and dark themes.

- `rates`: how many events of each topic came, over time.
- `timeline`: which callbacks of a delivery ran when, for how long, and which one stopped the event.
- `latencies`: the distribution of the latencies of each callback.

Vega-Lite draws the plots, in the process and without a network: `pip install 'rxhub[plot]'`.
"""

from rxhub.plots._latencies import latencies
from rxhub.plots._rates import rates
from rxhub.plots._timeline import timeline
from rxhub.plots.chart import Plot

__all__ = ["Plot", "latencies", "rates", "timeline"]
