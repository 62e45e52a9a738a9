//! The judge: (event, now) to actions, by fail2ban's rules of counting.
