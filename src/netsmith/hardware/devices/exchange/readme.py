"""What goes along with the files to another device."""

README = """# {layers} layers to time

`layers/` holds {files} ONNX files ({megabytes:.0f} MB). Most come in pairs: a file with some copies of one layer, and
one, `without-*.onnx`, that is the same without the layer. The time of the layer is the difference over the number of
copies.
`network-*.onnx` are small whole networks that show how layers add up; {others} more layers are theirs.

1. Fix the state of the device: power mode and clock, number of threads, no other work; let it reach its working
   temperature.
2. Convert the files for the device's runtime with the settings that the network will be deployed with.
3. Time the files in the order of `timings.csv`, at batch 1, with random inputs (their shapes are in `manifest.json`),
   the whole run from input to output: at least 10 runs to warm up, then 50 or more. Wait for the device before you read
   the clock.
4. Fill in `timings.csv`: number of runs, median of the seconds of one run, and their interquartile range. Means will do
   (call the column `mean_s`), milliseconds too (`median_ms`). Fill in the lines at its head as well: a table without
   them cannot be told from one of another device.
   The control appears several times: time it again each time, so that drift shows.
5. Leave out what the runtime cannot run: delete the line. Such a layer has no price afterwards.

Then, where netsmith is: `netsmith targets measure --read FOLDER --out device.json` (in Python
`read_timings(folder).save(path)`), and netsmith prices networks with `--target table:device.json`.
"""

TIMINGS = """# device:
# runtime:
# threads: 1
# date:
file,runs,median_s,iqr_s
"""
