// When each step of the start was done, over all processes: --debug-startup.
#ifndef RUNSC_STARTUP_TRACE_H_
#define RUNSC_STARTUP_TRACE_H_

namespace runsc {

// Call first thing in main.
void StartupTraceBegin();
// Makes later marks count. Call before forking.
void StartupTraceEnable();
// Notes that `step`, a literal, has just been done. Nothing unless enabled. Async-signal-safe.
void StartupMark(const char* step);
// Prints the marks so far to standard error, in the order of time.
void StartupTracePrint();

}  // namespace runsc

#endif  // RUNSC_STARTUP_TRACE_H_
