"""What all processes of one host agree on to the letter.

Imports nothing but the standard library (and tomli). Every other room may import it;
it imports no other room.
"""
