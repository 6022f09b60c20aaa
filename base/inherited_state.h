#pragma once

#include <sys/resource.h>

#include <cstddef>

#include "absl/status/status.h"

namespace backup {

// Brings what a process inherits from whoever started it into the state that ours expect, for every
// program: the first thing in main(), before anything is opened and any thread starts.
//
// * Standard streams that are closed lead nowhere, so that no file and no socket gets their number:
//   what is written there fails, as it did before. (That was done before main().) Notes to a pipe
//   that nobody reads are left out (base/standard_error.h).
// * What it makes is for its owner alone (umask 077), whatever the umask was.
// * No core files, and no memory in what a program gets instead: they would hold keys.
// * SIGTERM ends it, even if it was ignored or blocked, and children are waited for. SIGPIPE and
//   SIGXFSZ are errors of the write that met them.
// * Of descriptors, file sizes and the stack it may have as much as it is allowed; each thread's
//   stack has one size.
// * Variables are dropped that would lead gRPC's calls to a proxy or change how it works, or would
//   have keys of TLS connections written down. Those for the log's library (GLOG_...) have no
//   effect.
void TakeOverInheritedState();

// Tells in the log which variables TakeOverInheritedState() dropped, if any.
void LogDroppedVariables();

// What a program cannot do without: so many open files, and threads at the same time.
struct LeastLimits {
  rlim_t descriptors;
  size_t threads;
};
inline constexpr LeastLimits kDaemonLimits = {64, 48};  // When idle it has half of these threads.
inline constexpr LeastLimits kCommandLimits = {16, 16};

// FailedPrecondition, with what to raise, if there is no room for that. Makes threads, which end.
absl::Status CheckLimits(const LeastLimits& least);

// For a daemon: ignores the signals that would end it without a drain and that mean nothing to it.
void IgnoreMeaninglessSignals();

}  // namespace backup
