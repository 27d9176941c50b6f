"""What an analyst sees and edits in QGIS."""
