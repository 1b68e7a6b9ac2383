// Random numbers and the scenario's distributions. The two machines draw from the same distributions with different
// random streams: what is compared are the statistics of runs, never single draws.

package main

import (
	"math"
	"math/bits"
	"unsafe"
)

// rng is xoshiro256++, seeded by splitmix64.
type rng struct{ s0, s1, s2, s3 uint64 }

func (r *rng) seed(seed uint64) {
	next := func() uint64 {
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb
		return z ^ (z >> 31)
	}
	r.s0, r.s1, r.s2, r.s3 = next(), next(), next(), next()
}

func (r *rng) u64() uint64 {
	result := bits.RotateLeft64(r.s0+r.s3, 23) + r.s0
	t := r.s1 << 17
	r.s2 ^= r.s0
	r.s3 ^= r.s1
	r.s1 ^= r.s2
	r.s0 ^= r.s3
	r.s2 ^= t
	r.s3 = bits.RotateLeft64(r.s3, 45)
	return result
}

// f64 is uniform in [0, 1).
func (r *rng) f64() float64 { return float64(r.u64()>>11) * (1.0 / (1 << 53)) }

type distKind uint8

const (
	distConstant distKind = iota
	distUniform
	distExponential
	distLognormal
	distWeibull
	distPareto
	distHistogram
	distMixture
)

// dist is a compiled distribution; it lives off-heap.
type dist struct {
	kind    distKind
	a, b, c float64 // by kind: value | min max | mean | median sigma | scale shape | min shape max
	parts   *part
	nparts  int
}

// part is a histogram's bin or a mixture's component; cumulative is the share of all parts up to and including it.
type part struct {
	cumulative float64
	min, max   float64
	of         dist
}

func compileDist(v value) dist {
	kind := v.get("kind")
	switch {
	case kind.is("constant"):
		return dist{kind: distConstant, a: v.get("value").number(0)}
	case kind.is("uniform"):
		return dist{kind: distUniform, a: v.get("min").number(0), b: v.get("max").number(0)}
	case kind.is("exponential"):
		return dist{kind: distExponential, a: v.get("mean").number(0)}
	case kind.is("lognormal"):
		return dist{kind: distLognormal, a: v.get("median").number(0), b: v.get("sigma").number(0)}
	case kind.is("weibull"):
		return dist{kind: distWeibull, a: v.get("scale").number(0), b: v.get("shape").number(1)}
	case kind.is("pareto"):
		return dist{kind: distPareto, a: v.get("min").number(0), b: v.get("shape").number(1), c: v.get("max").number(0)}
	case kind.is("histogram"):
		return compileParts(v.get("bins"), distHistogram)
	case kind.is("mixture"):
		return compileParts(v.get("parts"), distMixture)
	}
	fail("unknown distribution")
	return dist{}
}

func compileParts(list value, kind distKind) dist {
	n := list.count()
	base := (*part)(offheapAlloc(uintptr(n) * unsafe.Sizeof(part{})))
	parts := unsafe.Slice(base, n)
	total := 0.0
	it := list.items()
	for i := range parts {
		v, _ := it.next()
		total += v.get("weight").number(0)
		parts[i].cumulative = total
		if kind == distHistogram {
			parts[i].min, parts[i].max = v.get("min").number(0), v.get("max").number(0)
		} else {
			parts[i].of = compileDist(v.get("dist"))
		}
	}
	for i := range parts {
		parts[i].cumulative /= total
	}
	return dist{kind: kind, parts: base, nparts: n}
}

func (d *dist) sample(r *rng) float64 {
	switch d.kind {
	case distConstant:
		return d.a
	case distUniform:
		return d.a + (d.b-d.a)*r.f64()
	case distExponential:
		return -d.a * math.Log(1-r.f64())
	case distLognormal:
		// Box-Muller, one of the pair.
		z := math.Sqrt(-2*math.Log(1-r.f64())) * math.Cos(2*math.Pi*r.f64())
		return d.a * math.Exp(d.b*z)
	case distWeibull:
		return d.a * math.Pow(-math.Log(1-r.f64()), 1/d.b)
	case distPareto:
		// Bounded Pareto by inversion.
		ratio := math.Pow(d.a/d.c, d.b)
		return d.a / math.Pow(1-r.f64()*(1-ratio), 1/d.b)
	}
	u := r.f64()
	parts := unsafe.Slice(d.parts, d.nparts)
	i := 0
	for i < len(parts)-1 && u >= parts[i].cumulative {
		i++
	}
	if d.kind == distHistogram {
		return parts[i].min + (parts[i].max-parts[i].min)*r.f64()
	}
	return parts[i].of.sample(r)
}

// mean by sampling the compiled distribution; used only to turn a byte rate into an object rate.
func (d *dist) mean() float64 {
	switch d.kind {
	case distConstant:
		return d.a
	case distUniform:
		return (d.a + d.b) / 2
	case distExponential:
		return d.a
	case distLognormal:
		return d.a * math.Exp(d.b*d.b/2)
	case distWeibull:
		return d.a * math.Gamma(1+1/d.b)
	case distPareto:
		l, h, k := d.a, d.c, d.b
		if k == 1 {
			return l * h / (h - l) * math.Log(h/l)
		}
		lk := math.Pow(l, k)
		return lk / (1 - math.Pow(l/h, k)) * k / (k - 1) * (1/math.Pow(l, k-1) - 1/math.Pow(h, k-1))
	}
	parts := unsafe.Slice(d.parts, d.nparts)
	mean, before := 0.0, 0.0
	for i := range parts {
		weight := parts[i].cumulative - before
		before = parts[i].cumulative
		if d.kind == distHistogram {
			mean += weight * (parts[i].min + parts[i].max) / 2
		} else {
			mean += weight * parts[i].of.mean()
		}
	}
	return mean
}

// round draws an integer whose mean is x.
func (r *rng) round(x float64) int {
	whole := math.Floor(x)
	if frac := x - whole; frac > 0 && r.f64() < frac {
		whole++
	}
	return int(whole)
}
