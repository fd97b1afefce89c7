"""One HTML page that shows a trace: `gpt-numpy inspect --html=FILE`.

contents.py    everything that the page shows, as one dictionary
encoding.py    arrays as strings, two bytes a number
backwards.py   the backward pass as a list of steps, each with its equations and lines of code
verdicts.py    the gradient check of every array on the page
lens.py        what the model would predict after each layer
pulls.py       which positions of the embedding each token's loss pulls on
run_progress.py the log of the training run
assemble.py    the file: markup, style and scripts of `parts/`, and the contents
parts/         the page itself; one topic in each *.js
"""
