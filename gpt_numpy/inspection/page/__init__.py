"""One HTML page that shows a trace: `gpt-numpy inspect --html=FILE`.

encoding.py          arrays as base64, two bytes a number
contents.py          everything that the page shows, as one dictionary
backwards.py         backward as a list of steps, each with its equations and lines of code
gradient_check.py    a check of every gradient on the page
logit_lens.py        the prediction after each layer
token_influence.py   how strongly each position influences the loss of each token
training_history.py  curves and samples of the run's log
assemble.py          the file: markup, style and scripts of `parts/`, and the contents
parts/               the page itself: a script for each view and for each tool of the views
"""
