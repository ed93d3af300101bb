"""The entry points for pytest and Hypothesis.

They are outside `rxhub`, so that test runs of other projects do not import rxhub, and coverage tools do not miss
modules that were imported before they started.
"""
