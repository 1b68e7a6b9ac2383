//go:build globals

// A mebibyte of global pointers, all nil. Built only to measure what scanning a program's globals costs.

package main

import "unsafe"

var bigGlobals [128 << 10]unsafe.Pointer

func init() { globalsForScan = unsafe.Pointer(&bigGlobals) }
