"""From scenes to batches: roles of pixels, patches, their scaling and augmentation."""
