#include "tests/bench/old_client.h"

#include "legacy_client/client_style.h"

namespace backup::bench {

const legacy_client::Frames& OldClientFrames() {
  static const legacy_client::Frames& frames = *[] {
    const auto style = legacy_client::Complete({}).value();
    return new legacy_client::Frames(style.dialect, FrameStyleOf(style));
  }();
  return frames;
}

}  // namespace backup::bench
