"""From measurements to a report: tables, plots and a page.

A report is a plain JSON map, here called `report` throughout:

    {
      "generated": {"directory", "n_files"},
      "measurements": [            # one for each embedding and reference
        {… as fad/measure.py defines it …,
         "reference": {… and "source", "directory", "n_tracks"}},
      ],
      "settings": {"codec", "codec_weights_sha256", "num_reference", "seed", "controls", …},
      "published": [{"model", "embedding", "reference", "kind", "value"}, …],
      "unusable": [{"set", "path", "reason"}, …],       # left out, as --skip_unusable asked
      "warnings": ["one line each", …]                  # of the measurements, and of the whole
    }
"""
