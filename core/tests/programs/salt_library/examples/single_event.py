import salt.utils.event
event = salt.utils.event.MasterEvent('/var/run/salt')
data = event.get_event()
