"""The mask engine: masks as one bit per pixel, compiled.

`bits` packs masks and reads a row as runs of set pixels, `label` finds connected parts, holes and bridges,
and the other modules are the operations. Nothing here knows of metres, files or steps.
"""
