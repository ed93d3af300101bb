"""What pytest and Hypothesis load whenever they start: next to nothing.

Outside of `rxhub`, since whatever is inside imports it whole, in every test run of every project beside which rxhub is
installed; and a tool that measures coverage would miss what is imported before it begins.
"""
