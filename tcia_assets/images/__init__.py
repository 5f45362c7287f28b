"""Plan, fetch and verify the images of the selected Series, and list them in a manifest.

Nothing gets its final name before it is verified; an earlier complete zip stays until then.
"""
