"""Unit-tests for the dispatch project
"""
