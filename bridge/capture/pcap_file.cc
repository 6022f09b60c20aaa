#include "bridge/capture/pcap_file.h"

#include <dlfcn.h>
#include <pcap/pcap.h>

#include <algorithm>
#include <array>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace backup::capture {
namespace {

// The name that all releases of Debian have it under.
constexpr char kLibrary[] = "libpcap.so.0.8";

// libpcap, which would bring D-Bus, systemd and what these need into a program that serves a
// network, if it were linked.
class Library {
 public:
  Library() : handle_(::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) return;
    Find("pcap_open_offline", open_offline);
    Find("pcap_datalink", datalink);
    Find("pcap_datalink_val_to_name", datalink_name);
    Find("pcap_next_ex", next);
    Find("pcap_geterr", error);
    Find("pcap_close", close);
  }
  ~Library() {
    if (handle_ != nullptr) ::dlclose(handle_);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  bool ok() const { return handle_ != nullptr && has_all_; }

  decltype(&::pcap_open_offline) open_offline = nullptr;
  decltype(&::pcap_datalink) datalink = nullptr;
  decltype(&::pcap_datalink_val_to_name) datalink_name = nullptr;
  decltype(&::pcap_next_ex) next = nullptr;
  decltype(&::pcap_geterr) error = nullptr;
  decltype(&::pcap_close) close = nullptr;

 private:
  template <typename Function>
  void Find(const char* name, Function& function) {
    function = reinterpret_cast<Function>(::dlsym(handle_, name));
    has_all_ = has_all_ && function != nullptr;
  }

  void* const handle_;
  bool has_all_ = true;
};

struct Counts {
  size_t packets = 0;
  size_t tcp = 0;
  size_t fragments = 0;
  bool reached_limit = false;
};

Counts AddPackets(const Library& library, pcap_t* pcap, Reassembly& reassembly,
                  std::vector<std::string>& remarks) {
  Counts counts;
  const auto link_type = static_cast<LinkType>(library.datalink(pcap));
  pcap_pkthdr* header = nullptr;
  const u_char* data = nullptr;
  int result = 0;
  while (!counts.reached_limit && (result = library.next(pcap, &header, &data)) == 1) {
    ++counts.packets;
    const Unwrapped packet =
        FindTcp(link_type, {reinterpret_cast<const char*>(data), header->caplen});
    if (packet.kind == Unwrapped::Kind::kFragment) ++counts.fragments;
    if (packet.kind != Unwrapped::Kind::kTcp) continue;
    ++counts.tcp;
    counts.reached_limit = !reassembly.Add(packet.segment);
  }
  if (result == PCAP_ERROR) {
    remarks.push_back(absl::StrCat("behind packet ", counts.packets,
                                   " the capture cannot be read: ", library.error(pcap)));
  }
  return counts;
}

}  // namespace

bool IsPcap(absl::string_view beginning) {
  // pcap in either byte order with microseconds or nanoseconds, and pcapng.
  constexpr std::array<absl::string_view, 5> kBeginnings = {"\xA1\xB2\xC3\xD4", "\xD4\xC3\xB2\xA1",
                                                            "\xA1\xB2\x3C\x4D", "\x4D\x3C\xB2\xA1",
                                                            "\x0A\x0D\x0D\x0A"};
  return std::any_of(kBeginnings.begin(), kBeginnings.end(), [beginning](absl::string_view magic) {
    return absl::StartsWith(beginning, magic);
  });
}

absl::Status ReadPcap(const std::string& path, Reassembly& reassembly,
                      std::vector<std::string>& remarks) {
  const Library library;
  if (!library.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot load ", kLibrary, ", which reads captures: install libpcap0.8, or give hex"));
  }
  char error[PCAP_ERRBUF_SIZE] = "";
  pcap_t* const pcap = library.open_offline(path.c_str(), error);
  if (pcap == nullptr)
    return absl::InvalidArgumentError(absl::StrCat("libpcap cannot read it: ", error));
  const absl::Cleanup close = [&] { library.close(pcap); };
  const int link_type = library.datalink(pcap);
  if (!IsKnown(link_type)) {
    const char* const name = library.datalink_name(link_type);
    return absl::InvalidArgumentError(absl::StrCat(
        "its link type ", link_type, name == nullptr ? "" : ", ", name == nullptr ? "" : name,
        ", is not known here: capture with tcpdump -i any, or on an Ethernet"));
  }
  const Counts counts = AddPackets(library, pcap, reassembly, remarks);
  if (counts.fragments > 0) {
    remarks.push_back(absl::StrCat(counts.fragments,
                                   " fragments of IP packets are left out: what they carry is "
                                   "missing"));
  }
  if (counts.reached_limit) {
    remarks.push_back(absl::StrCat("only the first ", counts.packets,
                                   " packets are read: more than ", kMaxBytes >> 20, " MiB or ",
                                   kMaxConnections, " connections are too much at once"));
  }
  if (counts.tcp == 0) {
    remarks.push_back(absl::StrCat("of its ", counts.packets, " packets none is a segment of TCP"));
  }
  return absl::OkStatus();
}

}  // namespace backup::capture
