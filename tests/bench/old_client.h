#pragma once

#include "legacy_client/frames.h"

namespace backup::bench {

// The messages of the old client: family C, header version 1.
const legacy_client::Frames& OldClientFrames();

}  // namespace backup::bench
