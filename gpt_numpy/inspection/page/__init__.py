"""One HTML page that shows a trace: `gpt-numpy inspect --html=FILE`.

encoding.py    arrays as text, two bytes a number
contents.py    everything that the page shows, as one dictionary
backwards.py   backward as a list of steps, each with its equations and its lines of code
verdicts.py    the gradient check of every array on the page
lens.py        what each layer would already answer
pulls.py       on which rows the loss of each token pulls
history.py     what the run noted of its training
assemble.py    the file: markup, style and programs of `parts/`, and the contents
parts/         the page itself; every *.js has one idea
"""
