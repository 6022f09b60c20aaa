#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "bridge/capture/reassembly.h"

namespace backup::capture {

// Whether a file that begins so is one of pcap or pcapng.
bool IsPcap(absl::string_view beginning);

// Adds the TCP segments of a pcap or pcapng file to `reassembly`, and to `remarks` what people
// should know of it, such as that it ends within a packet. Needs libpcap, which is loaded here and
// not before: FailedPrecondition if it is not installed. InvalidArgument if the file is none that
// libpcap reads, or of a link type that we do not know.
absl::Status ReadPcap(const std::string& path, Reassembly& reassembly,
                      std::vector<std::string>& remarks);

}  // namespace backup::capture
