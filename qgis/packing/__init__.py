"""Makes the zip of the QGIS plug-in; not part of it."""
