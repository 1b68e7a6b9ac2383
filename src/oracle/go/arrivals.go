// When requests arrive: Poisson or evenly paced, of a rate that may ramp, step, swing and burst. Arrivals are where the
// integral of the rate reaches the next exponential draw (or the next whole number); the integral advances in steps of a
// quarter of a millisecond, well below the dispatcher's own tick. All times are times of the run.

package main

import (
	"math"
	"unsafe"
)

const arrivalStepNs = 250_000

type step struct{ at, rate float64 }

type arrivals struct {
	poisson                           bool
	rate                              float64 // per second
	ramp                              bool
	rampFrom, rampOver, rampTo        float64
	steps                             *step
	nsteps                            int
	diurnal                           bool
	period, amplitude, peakAt         float64
	bursts                            bool
	every, length, factor, firstBurst float64
	now, owed                         float64 // ns; of the integral, what is left until the next arrival
}

func compileArrivals(v value) arrivals {
	a := arrivals{poisson: !v.get("process").is("constant"), rate: v.get("rate").number(0)}
	if r := v.get("ramp"); r.exists() {
		a.ramp = true
		a.rampFrom, a.rampOver, a.rampTo = r.get("from").number(0), r.get("over").number(0), r.get("to").number(0)
	}
	if s := v.get("steps"); s.exists() && s.count() > 0 {
		a.nsteps = s.count()
		a.steps = (*step)(offheapAlloc(uintptr(a.nsteps) * unsafe.Sizeof(step{})))
		list := unsafe.Slice(a.steps, a.nsteps)
		it := s.items()
		for i := range list {
			x, _ := it.next()
			list[i] = step{x.get("at").number(0), x.get("rate").number(0)}
			for j := i; j > 0 && list[j].at < list[j-1].at; j-- {
				list[j], list[j-1] = list[j-1], list[j]
			}
		}
	}
	if d := v.get("diurnal"); d.exists() {
		a.diurnal = true
		a.period, a.amplitude, a.peakAt = d.get("period").number(1), d.get("amplitude").number(0), d.get("peak_at").number(0)
	}
	if b := v.get("bursts"); b.exists() {
		a.bursts = true
		a.every, a.length, a.factor = b.get("every").number(1), b.get("length").number(0), b.get("factor").number(1)
		a.firstBurst = b.get("first").number(a.every)
	}
	return a
}

// rateAt is per second: base (whichever of steps and ramp began last) times the diurnal and the burst factor.
func (a *arrivals) rateAt(t float64) float64 {
	rate, since := a.rate, math.Inf(-1)
	before := a.rate // the base rate where the ramp begins
	for _, s := range unsafe.Slice(a.steps, a.nsteps) {
		if s.at <= t {
			rate, since = s.rate, s.at
		}
		if s.at < a.rampFrom {
			before = s.rate
		}
	}
	if a.ramp && t >= a.rampFrom && since < a.rampFrom {
		if t < a.rampFrom+a.rampOver {
			rate = before + (a.rampTo-before)*(t-a.rampFrom)/a.rampOver
		} else {
			rate = a.rampTo
		}
	}
	if a.diurnal {
		rate *= 1 + a.amplitude*math.Cos(2*math.Pi*(t-a.peakAt)/a.period)
	}
	if a.bursts && t >= a.firstBurst && math.Mod(t-a.firstBurst, a.every) < a.length {
		rate *= a.factor
	}
	return math.Max(0, rate)
}

func (a *arrivals) start(at float64, r *rng) {
	a.now = at
	a.owe(r)
}

func (a *arrivals) owe(r *rng) {
	a.owed = 1
	if a.poisson {
		a.owed = -math.Log(1 - r.f64())
	}
}

// next returns the time of the next arrival, or limit when there is none before it.
func (a *arrivals) next(limit float64, r *rng) float64 {
	for a.now < limit {
		dt := math.Min(arrivalStepNs, limit-a.now)
		perNs := a.rateAt(a.now+dt/2) * 1e-9
		if perNs*dt >= a.owed {
			a.now += a.owed / perNs
			a.owe(r)
			return a.now
		}
		a.owed -= perNs * dt
		a.now += dt
	}
	return limit
}

// zipf draws keys by the closed form the simulator uses: density (y + 1/2)^-skew on [0, keys), key = floor(y).
type zipf struct{ keys, q, whole float64 }

func newZipf(keys, skew float64) zipf {
	z := zipf{keys: keys, q: 1 - skew}
	if z.q == 0 {
		z.whole = math.Log(2*keys + 1)
	} else {
		z.whole = math.Expm1(z.q * math.Log(2*keys+1))
	}
	return z
}

func (z *zipf) sample(r *rng) int32 {
	part := r.f64() * z.whole
	var y float64
	switch z.q {
	case 1:
		y = part / 2
	case 0:
		y = (math.Exp(part) - 1) / 2
	default:
		y = (math.Exp(math.Log1p(part)/z.q) - 1) / 2
	}
	return int32(math.Min(math.Floor(y), z.keys-1))
}
