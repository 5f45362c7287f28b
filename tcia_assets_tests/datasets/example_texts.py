"""Texts of a declaration that has only what it must have, and of a target to add to it."""

LEAST = """\
title: Lungs
cohort:
  collections: [LCTSC]
split:
  fractions: {train: 0.8, test: 0.2}
"""
TARGET = "target: {kind: SEG, labels: {a: b}}\n"
