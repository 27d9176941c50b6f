"""The mask engine: masks as one bit per pixel, compiled.

`bits` packs masks and unpacks them, `runs` reads a row as runs of set pixels, `label` finds connected parts,
and the other modules are the operations. Nothing here knows of metres, files or steps.
"""
