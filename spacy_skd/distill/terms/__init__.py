"""What a student takes from its teacher: the teacher's terms of the objectives, one idea a file.

A term is called with the student's distributions, the teacher's targets and a weight a sentence,
and gives the weighted sum of its losses with the gradient in the form of the student's parts.
"""
