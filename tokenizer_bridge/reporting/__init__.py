"""Measurements made into a report: tables, plots and a page.

A report is a plain JSON map, here called `report` throughout:

    {
      "generated": {"directory", "n_files"},
      "measurements": [            # one for each embedding and reference
        {… as fad/measure.py's Measurement.as_json gives it …,
         "reference": {… and "source", "directory", "drawn": tracks that were drawn | "all"},
         "clips_per_file": a number, or {set: number} where they differ},
      ],
      "settings": {"codec", "codec_weights_sha256"},    # of the controls
      "published": [{"model", "embedding", "reference", "kind", "value"}, …],
      "unusable": [{"set", "path", "reason"}, …],       # left out, where that was asked for
      "warnings": ["one line each", …]                  # of the measurements, and of the whole
    }
"""
