"""Plots of events, deliveries and groups for notebooks: static SVG without scripts, for light and dark themes.

- `rates`: how many events of each topic came, over time.
- `timeline`: which callbacks of a delivery ran when, for how long, and which one stopped the event.
- `latencies`: the distribution of the latencies of each callback.
- `lag`: how many events waited for each consumer group, over time.

Vega-Lite draws the plots, in the process and without a network: `pip install 'rxhub[plot]'`.
"""

from rxhub.plots._lag import lag
from rxhub.plots._latencies import latencies
from rxhub.plots._rates import rates
from rxhub.plots._timeline import timeline
from rxhub.plots.chart import Plot

__all__ = ["Plot", "lag", "latencies", "rates", "timeline"]
