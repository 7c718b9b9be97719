// What goes wrong, when, and to whom: draws the scenario's faults within its budget, and heals everything.
#pragma once

#include <memory>
#include <vector>

#include "esc/base/prng.h"
#include "host.h"

namespace esc::escsim {

// Why some group has not taken in all nodes with the disks that they have now, or nothing.
[[nodiscard]] std::string unsettled(const Scenario& scenario,
                                    const std::vector<std::unique_ptr<Host>>& hosts);

class Faults {
 public:
  Faults(World& world, std::vector<std::unique_ptr<Host>>& hosts, Prng prng);

  void begin();
  // No more faults; what is blocked, broken, full or paused recovers at once.
  void heal();
  // Boots what is off and due. Called every few milliseconds.
  void supervise();
  // Something has just happened at this node after which a fault hurts most.
  void on_moment(Host& host, Moment moment);

 private:
  using Strike = void (Faults::*)();
  void every(Nanos mean, Strike strike);
  void again(Nanos mean, Strike strike);
  void later(Nanos delay, void (Faults::*what)(Host&), Host& host);
  [[nodiscard]] bool ambush() {
    return world_.scenario.ambush_one_in > 0 && prng_.chance(1, world_.scenario.ambush_one_in);
  }
  [[nodiscard]] Host& another(const Host& host);
  void isolate(Host& host);
  void cut_power_briefly(Host& host);
  void stall_ambushed(Host& host);

  // A running node that may be disturbed, or null when the budget is used up.
  [[nodiscard]] Host* victim();
  [[nodiscard]] bool disturbed(const Host& host) const;

  void kill();
  void cut_power();
  void terminate();
  void pause();
  void partition();
  void reset();
  void stall();
  void break_disk();
  void fill_disk();
  void shift_wall();
  void fuse();
  void replace();
  void renew();
  void rot();
  void spoil();
  void resume(Host& host);
  void calm(Host& host);
  // Every node has all of its data, and all that counts is known to be in order.
  [[nodiscard]] bool whole() const;
  // No group counts it as a member, as far as any node that counts knows.
  [[nodiscard]] bool is_out(const Host& host) const;
  void reconnect(Host& host);
  void empty_disk(Host& host);

  World& world_;
  std::vector<std::unique_ptr<Host>>& hosts_;
  Prng prng_;
  bool active_ = false;
  struct State {
    Nanos boot_at = 0;  // when off
    bool was_running = false;
    bool isolated = false;
    bool boots_soon = false;
  };
  std::vector<State> states_;
};

}  // namespace esc::escsim
