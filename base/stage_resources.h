#pragma once

#include "base/piece_buffers.h"
#include "base/read_ahead_source.h"

namespace backup {

// What all transfers of a process share to make pieces and to read ahead. It outlives their
// sources. Thread-safe.
struct StageResources {
  PieceBudget pieces;
  ReadAheadSlots read_ahead;
};

}  // namespace backup
