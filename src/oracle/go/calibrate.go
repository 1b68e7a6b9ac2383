package main

func calibrate(value) { fail("not yet") }
